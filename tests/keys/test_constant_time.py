"""AES-CBC records take the same instructions whatever their padding, right or wrong, and MAC.

What a peer could measure is how far the checks of a record came (Lucky Thirteen, RFC 7457 §2.4).
So instructions are counted, under callgrind, in the release build, over records of one length.
The example ``open_cbc`` of the crate ktls-record makes and opens them.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT = 280
OPENING = "open_cbc::counted"
VERDICT = "*constant_time::verdict*"

MACS = ["sha1", "sha256", "sha384"]
TEXT_LENS = [320, 512, 16368]
"""Encrypted bytes: as few as hold every padding, a little more, a whole record."""

PADDINGS = [*range(20), 31, 32, 47, 48, *range(59, 68), 127, 128, *range(200, 256, 5), 254]
"""Every position in a cipher block, around the hashes' blocks, and up to the longest."""
SOME = [0, 1, 15, 16, 63, 64, 200, 255]


@pytest.fixture(scope="module")
def program() -> Path:
    """The example, built."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    command = "cargo build --locked --release --quiet -p ktls-record --example open_cbc"
    subprocess.run(command.split(), cwd=ROOT, check=True, timeout=TIMEOUT)
    return ROOT / target / "release/examples/open_cbc"


def cases(paddings: Iterable[int], *defects: str) -> list[str]:
    """What the example is told to open: nothing wrong with it, or one defect each."""
    return [
        f"{padding}{defect and ':'}{defect}"
        for padding in paddings
        for defect in defects
        # Fewer than two padding bytes have none before the last one.
        if padding or defect != "last"
    ]


def count(
    program: Path, directory: Path, function: str, *arguments: str
) -> dict[str, dict[str, int]]:
    """Instructions of each case within `function`, those of opened and of refused records apart."""
    valgrind = shutil.which("valgrind")
    assert valgrind, "valgrind was not found: apt-get install valgrind"
    out = directory / "out"
    command = [
        valgrind,
        "--tool=callgrind",
        f"--callgrind-out-file={out}",
        f"--toggle-collect={function}",
        # One profile a record, without what the program did before it.
        f"--zero-before={OPENING}",
        f"--dump-after={OPENING}",
        str(program),
        *arguments,
    ]
    # Functions are bound when the program starts, not at their first call.
    environment = {"LD_BIND_NOW": "1"}
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    counts: dict[str, dict[str, int]] = {"opened": {}, "refused": {}}
    for number, line in enumerate(ran.stdout.splitlines(), 1):
        case, _, answer = line.partition(" ")
        profile = out.with_name(f"out.{number}").read_text()
        found = re.search(r"^totals: (\d+)", profile, re.MULTILINE)
        assert found, f"nothing was collected in {function}"
        counts[answer][case] = int(found[1])
    return counts


@pytest.mark.rule("RFC 5246 6.2.3.2", "RFC 7457 2.4")
@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("text_len", TEXT_LENS)
@pytest.mark.parametrize("mac", MACS)
def test_right_and_wrong_records_take_the_same_instructions(
    program: Path, tmp_path: Path, mac: str, text_len: int
) -> None:
    right = cases(PADDINGS, "")
    wrong = cases(SOME, "first", "last", "mac", "payload") + cases([0, 15, 64], "length")
    arguments = ["mac-then-encrypt", mac, str(text_len), *right, *wrong]

    whole = count(program, tmp_path, OPENING, *arguments)
    assert sorted(whole["opened"]) == sorted(right)
    assert sorted(whole["refused"]) == sorted(wrong)
    # A refused record is wiped, and its alert shows: the two kinds may differ from each other.
    assert len(set(whole["opened"].values())) == 1, whole["opened"]
    assert len(set(whole["refused"].values())) == 1, whole["refused"]

    verdict = count(program, tmp_path, VERDICT, *arguments)
    counted = {*verdict["opened"].values(), *verdict["refused"].values()}
    assert len(counted) == 1, verdict
    assert min(counted) > text_len, "the hash alone takes more"


@pytest.mark.rule("RFC 5246 6.2.3.2", "RFC 7457 2.4")
@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("mac", MACS)
def test_short_records_with_less_room_than_the_longest_padding(
    program: Path, tmp_path: Path, mac: str
) -> None:
    right = cases(range(16), "")
    wrong = cases([0, 1, 8, 15], "first", "last", "length", "mac")
    counts = count(program, tmp_path, VERDICT, "mac-then-encrypt", mac, "64", *right, *wrong)
    assert sorted(counts["opened"]) == sorted(right)
    assert sorted(counts["refused"]) == sorted(wrong)
    counted = {*counts["opened"].values(), *counts["refused"].values()}
    assert len(counted) == 1, counts


@pytest.mark.rule("RFC 7366 3")
@pytest.mark.timeout(TIMEOUT)
@pytest.mark.parametrize("mac", MACS)
def test_a_wrong_mac_is_refused_before_anything_is_decrypted(
    program: Path, tmp_path: Path, mac: str
) -> None:
    wrong = cases(SOME, "mac")
    counts = count(program, tmp_path, OPENING, "encrypt-then-mac", mac, "512", "255", *wrong)
    assert sorted(counts["refused"]) == sorted(wrong)
    assert len(set(counts["refused"].values())) == 1, counts["refused"]
    (refused,), (opened,) = set(counts["refused"].values()), counts["opened"].values()
    assert refused < opened
