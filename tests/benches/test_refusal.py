"""A debug build is not measured, whoever asks."""

import importlib.util
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.machine import facts, require_release
from instruction_gate import BASELINE
from ktls import _core


def test_a_release_build_is_let_through() -> None:
    require_release("release")


def test_a_debug_build_is_refused_with_the_remedy() -> None:
    with pytest.raises(SystemExit, match=r"debug build.*must not be measured.*--release"):
        require_release("debug")


def test_the_command_refuses_before_it_makes_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_core, "BUILD_PROFILE", "debug")
    with pytest.raises(SystemExit, match="must not be measured"):
        main(["short", "--output", str(tmp_path / "out"), "--directory", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_the_benches_of_pieces_refuse_before_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    path = BASELINE.parent / "pieces" / "conftest.py"
    spec = importlib.util.spec_from_file_location("pieces_conftest", path)
    assert spec is not None
    assert spec.loader is not None
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    conftest.pytest_sessionstart()
    monkeypatch.setattr(_core, "BUILD_PROFILE", "debug")
    with pytest.raises(pytest.exit.Exception, match="must not be measured"):
        conftest.pytest_sessionstart()


def test_the_facts_say_what_was_measured_and_not_where() -> None:
    found = facts("cubic")
    assert found["build"] == _core.BUILD_PROFILE
    assert found["congestion control"].startswith("cubic (system default ")
    assert set(found) >= {"date", "commit", "CPU", "CPUs", "kernel", "Python", "OpenSSL of ssl"}
    assert str(Path.cwd()) not in "".join(found.values())
