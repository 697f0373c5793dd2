"""The command as a whole: one case, three files."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness import __main__ as command


@pytest.fixture(autouse=True)
def _small_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "HOT_SIZE", 1 << 20)


def measure(tmp_path: Path, *more: str) -> int:
    output = ["--output", str(tmp_path / "out"), "--directory", str(tmp_path)]
    return command.main(["short", "--runs", "1", "--only", "seal", *output, *more])


@pytest.fixture
def crate(tmp_path: Path) -> str:
    program = tmp_path / "seal_rate"
    program.write_text("#!/bin/sh\necho 1000\n")
    program.chmod(0o755)
    return str(program)


def test_a_session_leaves_raw_data_a_table_and_a_picture(
    tmp_path: Path, crate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure(tmp_path, "--crate", crate) == 0
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == ["short.json", "short.md", "short.svg"]
    document = json.loads((out / "short.json").read_text())
    assert document["command"] == 'make bench BENCH="--runs 1 --only seal"'
    assert document["machine"]["build"] == "release"
    assert document["results"]["seal"]["crate ring"]["samples"] == [{"record_ns": 1000.0}]
    assert {target["held"] for target in document["targets"]} >= {None}
    text = (out / "short.md").read_text()
    assert text in capsys.readouterr().out
    assert 'make bench BENCH="--runs 1 --only seal"' in text
    ElementTree.fromstring((out / "short.svg").read_text())  # noqa: S314 -- our own


def test_published_results_are_called_latest(tmp_path: Path, crate: str) -> None:
    assert measure(tmp_path, "--publish", "--crate", crate) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["latest.json", "latest.md", "latest.svg"]


def test_a_case_that_fails_ends_with_a_status_and_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure(tmp_path) == 1
    assert "--example seal_rate" in capsys.readouterr().out


def test_an_unknown_case_is_named_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no case warp in this form; there are: sendfile-hot "):
        measure(tmp_path, "--only", "warp")


def test_a_session_leaves_nothing_behind(tmp_path: Path, crate: str) -> None:
    measure(tmp_path, "--crate", crate)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "seal_rate"]
