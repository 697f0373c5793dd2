"""What auditwheel, abi3audit and `contents.py` say of what was built."""

import json
import re
import subprocess
import sys
from pathlib import Path

from contents import sdist_faults, wheel_faults
from toolchain import TREE

_GLIBC = re.compile(r"manylinux_(\d+)_(\d+)_")


class Refused(Exception):
    """A wheel or an sdist that must not be given out; the message says why."""


def audit_wheel(wheel: Path) -> None:
    """Its platform tag is true, the stable ABI is kept, and it holds what it should; or Refused."""
    said = subprocess.check_output(_auditwheel(wheel, "--json"), text=True)
    subprocess.run(_auditwheel(wheel), check=True)  # the same once more, for who reads along
    found = json.loads(said)["overall_tag"]
    if not is_true(wheel.stem.rsplit("-", 1)[-1], found):
        raise Refused(f"{wheel.name} promises more than {found}, which is what auditwheel sees")
    if "-abi3-" in wheel.name:
        command = [sys.executable, "-m", "abi3audit", "--strict", "--summary", str(wheel)]
        if subprocess.run(command, check=False).returncode:
            raise Refused(f"{wheel.name} breaks the stable ABI (abi3audit, above)")
    _require_none(wheel, wheel_faults(wheel, TREE))


def audit_sdist(sdist: Path) -> None:
    """It holds what a build needs and nothing else, or Refused."""
    _require_none(sdist, sdist_faults(sdist, TREE))


def is_true(promised: str, found: str) -> bool:
    """Whether every platform tag that a wheel's name promises asks for the glibc that it needs.

    `promised` is the last part of the name (tags with dots between), `found` one tag. A tag without
    numbers (`manylinux2014`) is an alias of one that has them and is not looked at.
    """
    needed = _GLIBC.match(found)
    named = [_GLIBC.match(tag) for tag in promised.split(".")]
    oldest = [match.groups() for match in named if match is not None]
    if needed is None or not oldest:
        return False
    return all(_numbers(needed.groups()) <= _numbers(glibc) for glibc in oldest)


def _auditwheel(wheel: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "auditwheel", "show", *options, str(wheel)]


def _numbers(parts: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(int(part) for part in parts)


def _require_none(path: Path, faults: list[str]) -> None:
    if faults:
        raise Refused(f"{path.name}: {'; '.join(faults)}")
