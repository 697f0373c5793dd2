"""Which of CPython's suites an interpreter has, and what one of them says with ktls in the middle.

A suite is run routed, the exceptions one by one; then what did not pass is run stock, which decides
whether that is to be minded. No tests: `test_suites.py` runs this for the interpreter at hand,
`compare.py` for all.
"""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import ktls

HERE = Path(__file__).parent

SUITES = {
    # The longest first: they run side by side.
    "test.test_ssl": None,
    "test.test_imaplib": None,
    "test.test_logging": None,
    "test.test_asyncio.test_ssl": None,
    "test.test_ftplib": None,
    "test.test_poplib": None,
    "test.test_httplib": None,
    "test.test_httpservers": None,
    "test.test_smtplib": None,
    "test.test_urllib2_localnet": None,
    # The module and its suite left the standard library with 3.13 (PEP 594).
    "test.test_nntplib": (3, 12),
}
"""The suites, and the last version that has one."""

EXCEPTIONS: dict[str, str] = tomllib.loads((HERE / "exceptions.toml").read_text())["exceptions"]
"""Names that may fail, with the reason."""

SUITE_S = 900
"""A suite that takes longer has hung."""

LISTED_S = 20
"""An exception that takes longer is one: some leave threads that wait for each other."""


@dataclass(frozen=True)
class Comparison:
    """One suite, routed and stock."""

    suite: str
    passed: int
    """Tests that passed with ktls in the middle."""
    taken_over: int
    """Directions of connections that this library has taken over meanwhile."""
    complaints: list[str]
    """What stock passes and ktls does not, and what is wrong with the list of exceptions."""


def suites_of(version: tuple[int, int]) -> list[str]:
    """The suites that this version of CPython has."""
    return [suite for suite, last in SUITES.items() if last is None or version <= last]


def debian_package(version: tuple[int, int]) -> str:
    """Where Debian keeps the suites."""
    return "libpython{}.{}-testsuite".format(*version)


def has_suites(python: str) -> bool:
    """Whether the interpreter has CPython's suites."""
    code = (
        "import sys; from importlib.util import find_spec;"
        " sys.exit(not (find_spec('test') and find_spec('test.test_ssl')))"
    )
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def compare(suite: str, python: str = sys.executable) -> Comparison:
    """Run a suite routed, and what did not pass stock, too."""
    with TemporaryDirectory(prefix="ktls-cpython-") as name:
        directory = Path(name)
        listed = [test for test in EXCEPTIONS if test.startswith(f"{suite}.")]
        routed = _Run(suite, python, directory, "routed", but=listed)
        for test in listed:
            alone = ("--just", test, "--limit", str(LISTED_S))
            routed.outcomes |= _Run(suite, python, directory, "routed", *alone).outcomes
        passed = [test for test, (outcome, _) in routed.outcomes.items() if outcome == "passed"]
        stock = _Run(suite, python, directory, "stock", but=[*passed, *listed])
    complaints = [*stock.problems, *routed.problems]
    for test in stock.loaded:
        outcome, words = routed.outcomes.get(test, ("missing", ""))
        stock_passes = test in passed or stock.outcomes.get(test, ("",))[0] == "passed"
        if test in EXCEPTIONS:
            if outcome == "passed":
                complaints.append(f"{test} passes: take it off exceptions.toml")
        elif stock_passes and outcome != "passed":
            complaints.append(f"{test} passes with stock ssl and is {outcome} with ktls:\n{words}")
    return Comparison(suite, len(passed), routed.taken_over, complaints)


class _Run:
    """One process that has run a suite."""

    def __init__(
        self,
        suite: str,
        python: str,
        parent: Path,
        mode: str,
        *options: str,
        but: Sequence[str] = (),
    ) -> None:
        directory = Path(mkdtemp(dir=parent))
        results, left_out = directory / "results.jsonl", directory / "but.json"
        left_out.write_text(json.dumps(list(but)))
        # The library alone: what else is installed here may be for another version.
        library = directory / "library"
        library.mkdir()
        (library / "ktls").symlink_to(Path(ktls.__file__).parent)
        work = directory / "work"
        work.mkdir()
        command = [python, HERE / "run.py", suite, "--results", results, "--but", left_out]
        command += options
        if mode == "routed":
            command.append("--routed")
        try:
            done = subprocess.run(
                command,
                cwd=work,
                env={**os.environ, "PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=SUITE_S,
                text=True,
                errors="replace",
                check=False,
            )
            said, status = done.stdout, f"status {done.returncode}"
        except subprocess.TimeoutExpired as error:
            said, status = str(error.stdout), f"not ended after {SUITE_S} s"
        self.last_words = f"{status}\n{said[-4000:]}"
        self.outcomes: dict[str, tuple[str, str]] = {}
        self.loaded: list[str] = []
        self.taken_over = -1
        for line in results.read_text().splitlines() if results.exists() else ():
            test, outcome, words = json.loads(line)
            if outcome == "loaded":
                self.loaded = words
            elif outcome == "ended":
                self.taken_over = words
            else:
                self.outcomes[test] = outcome, words
        self.problems: list[str] = []
        if not self.loaded or self.taken_over < 0:
            self.problems.append(f"{suite}, {mode}, did not come to its end: {self.last_words}")
