"""Run one of CPython's own suites, as it is or with `SSLContext.wrap_socket` routed through ktls.

    python run.py test.test_ssl --results FILE [--routed] [--but FILE] [--just NAME] [--limit S]

The results are lines of JSON: first all names that were loaded, then each test with its outcome
("passed", "failed", "skipped") and what was said about it, last how often the library took over.
`--but` has names that are left out; after `--limit` one test has hung, and the process ends.
Nothing is judged here; `suites.py` does that.
"""

import argparse
import faulthandler
import json
import ssl
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO


def route() -> None:
    """Let every `SSLContext` of this process give sockets of ktls."""
    import ktls

    ktls.enable()

    def wrap_socket(
        self: ssl.SSLContext,
        sock: Any,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        ktls.prepare(self)
        return ktls.wrap_socket(
            sock,
            self,
            server_side,
            do_handshake_on_connect,
            suppress_ragged_eofs,
            server_hostname,
            session,
        )

    ssl.SSLContext.wrap_socket = wrap_socket  # type: ignore[method-assign]


def taken_over() -> int:
    """How many directions of connections this process has taken over."""
    ktls = sys.modules.get("ktls")
    return 0 if ktls is None else int(ktls.sysctl["kern.ipc.tls.stats.offload_total"])


class Results(unittest.TestResult):
    """Writes down each test as it ends, so that a suite that hangs has said what went before."""

    def __init__(self, file: TextIO, limit: float) -> None:
        super().__init__()
        self.file = file
        self.limit = limit
        self.said: dict[str, tuple[str, str]] = {}

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().startTest(test)
        self.said[test.id()] = ("passed", "")
        faulthandler.dump_traceback_later(self.limit, exit=True)

    def stopTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        # Of a test that was skipped before it began some versions say that it has stopped.
        if (outcome := self.said.pop(test.id(), None)) is not None:
            self.write(test.id(), *outcome)

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self.judge(test, "failed", self.errors[-1][1])

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        self.judge(test, "failed", self.failures[-1][1])

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.judge(test, "failed", f"{subtest.id()}\n{(self.failures + self.errors)[-1][1]}")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self.judge(test, "skipped", reason)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().addUnexpectedSuccess(test)
        self.judge(test, "failed", "an unexpected success")

    def judge(self, test: unittest.TestCase, outcome: str, words: str) -> None:
        if test.id() not in self.said:
            # One that did not begin, and setUpClass and setUpModule, which are no tests.
            self.write(test.id(), outcome, words)
        elif self.said[test.id()][0] != "failed":
            self.said[test.id()] = (outcome, words)

    def write(self, name: str, outcome: str, words: str) -> None:
        print(json.dumps([name, outcome, words]), file=self.file, flush=True)


def tests_of(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from tests_of(test)
        else:
            yield test


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("suite")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--routed", action="store_true")
    parser.add_argument("--but", type=Path)
    parser.add_argument("--just")
    parser.add_argument("--limit", type=float, default=120)
    arguments = parser.parse_args()
    from test import support

    # No internet, as on a machine that builds; what is slow is run.
    support.use_resources = ["cpu", "walltime"]
    # Failures are told with their tracebacks, not with a logged copy of them.
    support.verbose = False
    if arguments.routed:
        route()
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromName(arguments.suite)
    names = [test.id() for test in tests_of(suite)]
    left_out = set(json.loads(arguments.but.read_text())) if arguments.but else set()
    if arguments.just:
        left_out |= {*names} - {arguments.just}
    if left_out:
        # One that is not run is not there: the rest keeps its order, and its classes and modules.
        leave_out(suite, left_out)
    with arguments.results.open("w") as file:
        print(json.dumps(["", "loaded", names]), file=file, flush=True)
        suite.run(Results(file, arguments.limit))
        print(json.dumps(["", "ended", taken_over()]), file=file)


def leave_out(suite: unittest.TestSuite, names: set[str]) -> None:
    """Drop tests by name, and suites that are empty then."""
    kept: list[unittest.TestCase | unittest.TestSuite] = []
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            leave_out(test, names)
            is_kept = test.countTestCases() > 0
        else:
            is_kept = test.id() not in names
        if is_kept:
            kept.append(test)
    suite._tests = kept  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
