"""The interpreters of a machine: by their names on PATH and with pyenv, and by what they answer."""

import stat
import sys
from pathlib import Path

import pytest

import interpreters


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it, and no pyenv."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def put(path: Path, answer: str, status: int = 0) -> Path:
    """A program that answers the question as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def answer(version: list[int], program: str, *, free_threaded: bool = False) -> str:
    return f'["CPython", {version}, {str(free_threaded).lower()}, "{program}"]'


def test_this_interpreter_is_found(folder: Path) -> None:
    (found,) = interpreters.found((3, 11))
    assert found.version == sys.version_info[:3]
    assert Path(found.program) == Path(sys.executable)


def test_what_answers_is_found_by_name(folder: Path) -> None:
    put(folder / "python3.98", answer([3, 98, 1], "first"))
    put(folder / "pyenv/versions/3.98.7/bin/python3.98", answer([3, 98, 7], "second"))
    put(
        folder / "pyenv/versions/3.99.0t/bin/python3.99t",
        answer([3, 99, 0], "t", free_threaded=True),
    )
    put(folder / "python3.97", "no such version is active", status=127)
    put(folder / "python3.96", '["PyPy", [3, 96, 0], false, "pypy"]')
    put(folder / "python3.95-config", answer([3, 95, 0], "config"))
    found = [str(interpreter) for interpreter in interpreters.found((3, 95))]
    assert found == ["CPython 3.98.1", "CPython 3.99.0 (free-threaded)"]
