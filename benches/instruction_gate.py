"""Instructions of sending and receiving, counted under callgrind, against ``instructions.json``.

Seconds on a shared machine are noise; the same source and compiler run the same instructions every
time, in any directory and on any x86-64 CPU with AVX2: valgrind shows programs one CPU, with AES-NI
and without VAES, and ENVIRONMENT is all that the program inherits.  So the counts say nothing about
speed, only that a change made the way longer.  What is counted is
``rust/engine/examples/instructions.rs``.

    python instruction_gate.py compare PROGRAM
    python instruction_gate.py renew PROGRAM --reason "why the way became longer"
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).with_name("instructions.json")
TOLERANCE_PERCENT = 3
"""By how much a count may grow or shrink before somebody has to say why."""

# libc's plainest way to copy, which it would otherwise choose by the CPU.
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS"}
COLLECTED = "instructions::counted"
PROVIDERS = ("ring", "aws-lc")
OPERATIONS = (
    "seal {}",
    "send {} 64",
    "send {} 1024",
    "send {} 16384",
    "send {} 262144",
    "recv {} 64",
    "recv {} 1024",
    "recv {} 16384",
)


def operations() -> list[str]:
    """The arguments of every run, which are also its name."""
    return [operation.format(name) for name in PROVIDERS for operation in OPERATIONS]


def count(program: str, operation: str) -> int:
    """Instructions of one operation.  RuntimeError with the program's words when it fails."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise RuntimeError("valgrind was not found: apt-get install valgrind")
    with tempfile.TemporaryDirectory(prefix="ktls-callgrind-") as directory:
        out = Path(directory, "out")
        command = [
            valgrind,
            "--tool=callgrind",
            f"--callgrind-out-file={out}",
            f"--toggle-collect={COLLECTED}",
            program,
            *operation.split(),
        ]
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=300, check=False, env=ENVIRONMENT
        )
        if ran.returncode:
            raise RuntimeError(f"{operation}: {ran.stderr.strip().splitlines()[-1:]}")
        return total(out.read_text())


def total(profile: str) -> int:
    """The total of a callgrind profile.

    RuntimeError when it holds none, or zero: nothing was collected.
    """
    found = re.search(r"^(?:summary|totals): (\d+)", profile, re.MULTILINE)
    if found is None or not int(found[1]):
        raise RuntimeError(
            f"callgrind collected nothing in {COLLECTED}; was it renamed or inlined?"
        )
    return int(found[1])


def findings(baseline: Mapping[str, int], counted: Mapping[str, int]) -> list[str]:
    """What differs by more than is tolerated, or is on one side only; empty when all is well."""
    found = []
    for name in {**baseline, **counted}:
        if name not in counted:
            found.append(f"{name}: in the baseline, but not counted")
        elif name not in baseline:
            found.append(f"{name}: {counted[name]:,} instructions, not in the baseline")
        else:
            change = counted[name] - baseline[name]
            if abs(change) * 100 > TOLERANCE_PERCENT * baseline[name]:
                found.append(
                    f"{name}: {counted[name]:,} instructions, {change / baseline[name]:+.1%} from"
                    f" {baseline[name]:,}; {TOLERANCE_PERCENT}% is tolerated"
                )
    return found


def table(baseline: Mapping[str, int], counted: Mapping[str, int]) -> str:
    """Every count beside its baseline."""
    return "\n".join(
        f"{name:<22}{number:>12,}"
        + (f"{number / baseline[name] - 1:>+9.2%}" if name in baseline else "      new")
        for name, number in counted.items()
    )


def toolchain() -> dict[str, str]:
    """What the counts depend on beside the source."""
    return {
        "rustc": _first_line("rustc", "--version"),
        "valgrind": _first_line("valgrind", "--version"),
        "libc": _first_line("getconf", "GNU_LIBC_VERSION"),
    }


def compare(
    document: Mapping[str, Any], counted: Mapping[str, int], tools: Mapping[str, str]
) -> int:
    """Print the comparison; 1 when the gate is shut."""
    print(table(document["counts"], counted))
    found = findings(document["counts"], counted)
    if not found:
        return 0
    print("\n" + "\n".join(found), file=sys.stderr)
    for name, words in document["toolchain"].items():
        if tools.get(name) != words:
            print(
                f"the baseline was counted with {words}, this with {tools.get(name)}",
                file=sys.stderr,
            )
    print("counts do not vary by chance: the code changed, or a tool named above", file=sys.stderr)
    print('meant so? `make instructions-baseline REASON="..."`', file=sys.stderr)
    return 1


def renewed(counted: Mapping[str, int], tools: Mapping[str, str], reason: str) -> dict[str, Any]:
    """The document of a new baseline.  SystemExit without a reason."""
    if not reason.strip():
        raise SystemExit('a new baseline needs a reason: make instructions-baseline REASON="..."')
    return {"reason": reason.strip(), "toolchain": dict(tools), "counts": dict(counted)}


def main(arguments: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="instruction_gate")
    parser.add_argument("verb", choices=("compare", "renew"))
    parser.add_argument("program", help="the example `instructions` of ktls-engine, release build")
    parser.add_argument("--reason", default="")
    options = parser.parse_args(arguments)
    if options.verb == "renew":
        renewed({}, {}, options.reason)
    counted = {name: count(options.program, name) for name in operations()}
    if options.verb == "compare":
        return compare(json.loads(BASELINE.read_text()), counted, toolchain())
    document = renewed(counted, toolchain(), options.reason)
    BASELINE.write_text(json.dumps(document, indent=1) + "\n")
    print(table({}, counted))
    return 0


def _first_line(*command: str) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return ran.stdout.partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
