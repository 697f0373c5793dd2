"""Run CPython's suites on every CPython from 3.11 on that is found, three times in a row.

    python compare.py [--times N] [--python PYTHON ...]

Found are `python3.N` on PATH and the versions of pyenv. One without the suites is named and left
out. Ends with 1 when anything is to be complained of, or when there was nothing to run.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from cpython.suites import Comparison, compare, debian_package, has_suites, suites_of

SIDE_BY_SIDE = 6

_WHO = (
    "import json, sys; print(json.dumps([sys.implementation.name, sys.version_info[:3],"
    " sys.base_prefix, sys.executable, getattr(sys, '_is_gil_enabled', lambda: True)()]))"
)


def interpreters() -> dict[str, tuple[int, int]]:
    """CPythons from 3.11 on by path, each once."""
    candidates = [shutil.which(f"python3.{minor}") for minor in range(11, 30)]
    if (pyenv := shutil.which("pyenv")) is not None:
        root = subprocess.run([pyenv, "root"], check=True, capture_output=True, text=True)
        versions = Path(root.stdout.strip()) / "versions"
        candidates += sorted(map(str, versions.glob("*/bin/python3")))
    found: dict[str, tuple[int, int]] = {}
    seen = set()
    for python in filter(None, candidates):
        # A shim of pyenv answers with an error where its version is not chosen.
        said = subprocess.run([python, "-c", _WHO], check=False, capture_output=True, text=True)
        if said.returncode:
            continue
        name, (major, minor, micro), prefix, executable, has_gil = json.loads(said.stdout)
        if name == "cpython" and (major, minor) >= (3, 11) and has_gil:
            if (prefix, minor, micro) not in seen:
                found[executable] = major, minor
            seen.add((prefix, minor, micro))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--python", action="append")
    parser.add_argument("--suite", action="append")
    arguments = parser.parse_args()
    ran = complaints = 0
    for python, version in interpreters().items():
        if arguments.python and python not in arguments.python:
            continue
        if not has_suites(python):
            remedy = f"on Debian: apt-get install {debian_package(version)}"
            print(f"{python}: no test.test_ssl; {remedy}")
            continue
        suites = [each for each in suites_of(version) if each in (arguments.suite or [each])]
        for time in range(1, arguments.times + 1):
            for comparison in comparisons(suites, python):
                ran += 1
                complaints += len(comparison.complaints)
                print(
                    f"{python}: {time}: {comparison.suite}: {comparison.passed} passed,"
                    f" {comparison.taken_over} directions taken over,"
                    f" {len(comparison.complaints)} complaints",
                    *comparison.complaints,
                    sep="\n",
                    flush=True,
                )
    print(f"{ran} runs, {complaints} complaints")
    return int(not ran or complaints > 0)


def comparisons(suites: list[str], python: str) -> Iterator[Comparison]:
    """All of them, side by side, as they end."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        for future in as_completed([pool.submit(compare, suite, python) for suite in suites]):
            yield future.result()


if __name__ == "__main__":
    sys.exit(main())
