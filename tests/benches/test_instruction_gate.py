"""The comparer of instruction counts, without valgrind."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import instruction_gate as gate

BASELINE = {"seal ring": 100_000, "send ring 64": 2000}
TOOLS = {"rustc": "rustc 1.85.0", "valgrind": "valgrind-3.19.0", "libc": "glibc 2.36"}
DOCUMENT = {"reason": "first", "toolchain": TOOLS, "counts": BASELINE}


@pytest.mark.parametrize("number", [97_000, 99_999, 100_000, 103_000])
def test_within_three_percent_all_is_well(number: int) -> None:
    assert gate.findings(BASELINE, BASELINE | {"seal ring": number}) == []


@pytest.mark.parametrize(("number", "change"), [(96_900, "-3.1%"), (103_100, "+3.1%")])
def test_beyond_three_percent_either_way_is_found(number: int, change: str) -> None:
    (found,) = gate.findings(BASELINE, BASELINE | {"seal ring": number})
    assert found == (f"seal ring: {number:,} instructions, {change} from 100,000; 3% is tolerated")


def test_what_is_on_one_side_only_is_found() -> None:
    counted = {"seal ring": 100_000, "send ring 1024": 5000}
    assert gate.findings(BASELINE, counted) == [
        "send ring 64: in the baseline, but not counted",
        "send ring 1024: 5,000 instructions, not in the baseline",
    ]


def test_a_closed_gate_says_why_and_how_to_renew(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.compare(DOCUMENT, BASELINE | {"send ring 64": 3000}, TOOLS) == 1
    err = capsys.readouterr().err
    assert "send ring 64: 3,000 instructions, +50.0%" in err
    assert "make instructions-baseline REASON=" in err
    assert "counts do not vary by chance" in err
    assert "counted with" not in err


def test_a_closed_gate_names_a_tool_that_changed(capsys: pytest.CaptureFixture[str]) -> None:
    other = TOOLS | {"rustc": "rustc 1.99.0"}
    assert gate.compare(DOCUMENT, BASELINE | {"send ring 64": 3000}, other) == 1
    assert "counted with rustc 1.85.0, this with rustc 1.99.0" in capsys.readouterr().err


def test_an_open_gate_shows_every_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.compare(DOCUMENT, BASELINE | {"send ring 64": 2020}, TOOLS) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()] == [
        ["seal", "ring", "100,000", "+0.00%"],
        ["send", "ring", "64", "2,020", "+1.00%"],
    ]
    assert err == ""


def test_a_baseline_needs_a_reason() -> None:
    with pytest.raises(SystemExit, match="needs a reason"):
        gate.main(["renew", "/nonexistent/program"])
    assert gate.renewed(BASELINE, TOOLS, " longer  ") == DOCUMENT | {"reason": "longer"}


def test_a_program_inherits_nothing_but_what_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate.shutil, "which", lambda name: f"/usr/bin/{name}")
    inherited: list[dict[str, str]] = []

    def run(command: list[str], *, env: dict[str, str], **_: object) -> SimpleNamespace:
        inherited.append(env)
        out = next(word for word in command if word.startswith("--callgrind-out-file="))
        Path(out.partition("=")[2]).write_text("events: Ir\ntotals: 2702\n")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(gate.subprocess, "run", run)
    assert gate.count("program", "send ring 64") == 2702
    assert [sorted(environment) for environment in inherited] == [["GLIBC_TUNABLES"]]


def test_the_total_is_read_from_a_profile() -> None:
    assert gate.total("version: 1\nevents: Ir\n\nfn=(1)\n3 4\n\ntotals: 144599\n") == 144599
    assert gate.total("events: Ir\nsummary: 2702\n\nfn=(1)\n") == 2702


@pytest.mark.parametrize("profile", ["events: Ir\n", "events: Ir\ntotals: 0\n"])
def test_a_profile_that_collected_nothing_is_an_error(profile: str) -> None:
    with pytest.raises(RuntimeError, match="instructions::counted"):
        gate.total(profile)


def test_the_committed_baseline_covers_every_operation() -> None:
    document = json.loads(gate.BASELINE.read_text())
    assert list(document["counts"]) == gate.operations()
    assert document["reason"]
    assert set(document["toolchain"]) == set(TOOLS)


def test_the_counted_function_is_the_one_of_the_example() -> None:
    source = Path(gate.BASELINE.parents[1], "rust/engine/examples/instructions.rs").read_text()
    crate, _, function = gate.COLLECTED.partition("::")
    assert crate == "instructions"
    assert f"#[inline(never)]\nfn {function}(" in source
