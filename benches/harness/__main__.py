"""The command: ``python -m harness short|full`` inside benches; ``make bench`` calls it.

Writes ``results/<form>.json``, ``.md`` and ``.svg``, or ``latest.*`` with ``--publish``.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import ktls
from harness import files, machine, report
from harness.cases import HOT_SIZE, cases
from harness.contenders import contenders
from harness.figures import as_json
from harness.plot import svg
from harness.runner import Result, Runner, Setting
from harness.targets import targets
from ktls import _core

_RESULTS = Path(__file__).resolve().parents[1] / "results"
_SCHEMA = 1
_RUNS = 5
_CONGESTION = "cubic"


def main(arguments: list[str] | None = None) -> int:
    """Measure and write; returns 1 when something could not be measured."""
    options = _parser().parse_args(arguments)
    machine.require_release(_core.BUILD_PROFILE)
    facts = machine.facts(options.congestion)
    backend = ktls.backends.available()[0].name
    began = time.monotonic()
    results: dict[str, dict[str, Result]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="ktls-bench-", dir=options.directory) as directory,
        Runner(_setting(options), contenders()) as runner,
    ):
        file = files.make(Path(directory), HOT_SIZE)
        chosen = cases(options.form, file, backend)
        if options.only:
            _require_known(options.only, [case.name for case in chosen])
            chosen = [case for case in chosen if case.name in options.only]
        for case in chosen:
            results[case.name] = runner.run(case, options.runs, _say)
    _say(f"{time.monotonic() - began:.0f} s")
    held = targets(results, backend)
    document = {
        "schema": _SCHEMA,
        "form": options.form,
        "runs": options.runs,
        "command": _command(options),
        "machine": facts,
        "cases": {case.name: {"title": case.title, "figure": case.figure} for case in chosen},
        "targets": [{**asdict(target), "held": target.held} for target in held],
        "results": as_json(results),
    }
    text = report.markdown(chosen, results, held, facts, _command(options))
    name = "latest" if options.publish else options.form
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    (options.output / f"{name}.md").write_text(text)
    (options.output / f"{name}.svg").write_text(svg(chosen, results, facts))
    print(text)
    return int(any(result.failure for case in results.values() for result in case.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="harness", description="Measure whole connections.")
    parser.add_argument("form", choices=("short", "full"))
    parser.add_argument("--runs", type=int, default=_RUNS, help="of each contender (%(default)s)")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="these cases alone")
    parser.add_argument("--congestion", default=_CONGESTION, help="TCP_CONGESTION (%(default)s)")
    parser.add_argument("--crate", default="", help="the example seal_rate of ktls-record")
    parser.add_argument("--directory", help="where the file is made, on a disk")
    parser.add_argument("--output", type=Path, default=_RESULTS)
    parser.add_argument("--publish", action="store_true", help="write latest.* for the repository")
    return parser


def _command(options: argparse.Namespace) -> str:
    """What to type for the same measurement."""
    changes = [] if options.runs == _RUNS else [f"--runs {options.runs}"]
    if options.congestion != _CONGESTION:
        changes.append(f"--congestion {options.congestion}")
    if options.only:
        changes.append(f"--only {' '.join(options.only)}")
    verb = "make bench" if options.form == "short" else "make bench-full"
    return f'{verb} BENCH="{" ".join(changes)}"' if changes else verb


def _setting(options: argparse.Namespace) -> Setting:
    import trustme

    authority = trustme.CA(organization_name="ktls benches")
    issued = authority.issue_cert("localhost")
    return Setting(
        certificate=issued.private_key_and_cert_chain_pem.bytes(),
        authority=authority.cert_pem.bytes(),
        congestion=options.congestion,
        crate=options.crate,
    )


def _require_known(asked: list[str], known: list[str]) -> None:
    if unknown := [name for name in asked if name not in known]:
        raise SystemExit(f"no case {', '.join(unknown)} in this form; there are: {' '.join(known)}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    # It must not leave a gigabyte and its processes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    sys.exit(main())
