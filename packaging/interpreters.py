"""Which CPythons this machine has: this one, `pythonX.Y` on PATH, and what pyenv has installed.

Each one that is found is started and asked, so a shim without an interpreter behind it is none.
Of two with the same minor version the first that was found counts.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"python3\.\d+t?")
_QUESTION = """
import json, platform, sys, sysconfig
print(json.dumps([platform.python_implementation(), list(sys.version_info[:3]),
                  bool(sysconfig.get_config_var("Py_GIL_DISABLED")), sys.executable]))
"""


@dataclass(frozen=True, order=True)
class Interpreter:
    """One CPython: its version, whether it is a free-threaded build, and its program."""

    version: tuple[int, int, int]
    is_free_threaded: bool
    program: str

    def __str__(self) -> str:
        threaded = " (free-threaded)" if self.is_free_threaded else ""
        return f"CPython {'.'.join(map(str, self.version))}{threaded}"


def found(oldest: tuple[int, int]) -> list[Interpreter]:
    """One interpreter for each minor version from `oldest` on, and each kind; lowest first."""
    by_kind: dict[tuple[tuple[int, int], bool], Interpreter] = {}
    for program in _programs():
        if (interpreter := _asked(program)) is not None:
            minor = interpreter.version[:2]
            if minor >= oldest:
                by_kind.setdefault((minor, interpreter.is_free_threaded), interpreter)
    return sorted(by_kind.values())


def _programs() -> Iterator[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield Path(sys.executable)
    folders = [Path(name) for name in os.get_exec_path()]
    folders += sorted(pyenv.glob("versions/*/bin"), reverse=True)
    for folder in folders:
        yield from sorted(path for path in folder.glob("python3.*") if _NAME.fullmatch(path.name))


def _asked(program: Path) -> Interpreter | None:
    """What the program says of itself; nothing where it does not start or is no CPython."""
    command = [str(program), "-I", "-c", _QUESTION]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        implementation, version, is_free_threaded, executable = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if implementation != "CPython":
        return None
    return Interpreter(tuple(version), is_free_threaded, executable)
