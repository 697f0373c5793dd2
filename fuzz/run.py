"""Runs fuzz targets for a given time, shared among them, and says how often each ran.

Usage::

    python fuzz/run.py --seconds 60 [--target open_record] [--sanitizer address]

Targets in Rust are built by cargo-fuzz; those in Python run in this interpreter, which needs ktls
and fuzz/requirements.txt.  A finding is kept in fuzz/artifacts, what was learnt in fuzz/corpus; the
status is 1 after a finding, and 2 when something could not run.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The stable compiler takes the fuzzer's flags when told to.
ENVIRONMENT = os.environ | {"RUSTC_BOOTSTRAP": "1"}
RUST = sorted(path.stem for path in (HERE / "fuzz_targets").glob("*.rs"))
PYTHON = sorted(path.stem for path in (HERE / "python").glob("*.py"))
OPTIONS = ["-max_len=4096", "-timeout=30", "-rss_limit_mb=4096", "-print_final_stats=1"]


def main() -> int:
    parser = argparse.ArgumentParser(description="Run fuzz targets for a given time.")
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--target", action="append", choices=RUST + PYTHON, help="all by default")
    parser.add_argument("--sanitizer", default="address", help="address, or none")
    parser.add_argument("--cargo-fuzz", default="cargo-fuzz", help="the program")
    arguments = parser.parse_args()
    targets = arguments.target or RUST + PYTHON
    seconds = max(1, int(arguments.seconds / len(targets)))
    if any(target in RUST for target in targets):
        build = [*cargo_fuzz(arguments, "build"), *(targets if len(targets) == 1 else [])]
        if subprocess.run(build, env=ENVIRONMENT, check=False).returncode:
            return 2
    return max([run(target, seconds, arguments) for target in targets])


def cargo_fuzz(arguments: argparse.Namespace, verb: str) -> list[str]:
    """The command up to the target's name."""
    command = [arguments.cargo_fuzz, verb, "--fuzz-dir", str(HERE), "--features", "libfuzzer"]
    return [*command, "--sanitizer", arguments.sanitizer]


def run(target: str, seconds: int, arguments: argparse.Namespace) -> int:
    """One target; prints its last words when it found something."""
    corpus, artifacts, seeds = (HERE / name / target for name in ("corpus", "artifacts", "seeds"))
    corpus.mkdir(parents=True, exist_ok=True)
    artifacts.mkdir(parents=True, exist_ok=True)
    options = [*OPTIONS, f"-max_total_time={seconds}", f"-artifact_prefix={artifacts}/"]
    inputs = [str(corpus), *([str(seeds)] if seeds.is_dir() else [])]
    if target in RUST:
        command = [*cargo_fuzz(arguments, "run"), target, *inputs, "--", *options]
    else:
        command = [sys.executable, str(HERE / "python" / f"{target}.py"), *inputs, *options]
    done = subprocess.run(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    output = done.stdout.decode(errors="replace")
    count = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    print(
        f"fuzz: {target:14} {count[1] if count else '?':>10} executions in {seconds} s", flush=True
    )
    if done.returncode or count is None:
        print(output[-4000:], flush=True)
        found = any(artifacts.iterdir())
        return 1 if found else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
