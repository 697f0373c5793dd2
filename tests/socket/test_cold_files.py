"""Files that are not in memory: whoever may not wait leaves the reading to a thread that may."""

from collections.abc import Callable
from pathlib import Path

import pytest

import ktls
from harness import files
from keyed_link import Link
from record_reader import read_data
from support.programs import run_program

FILE_LEN = 40_000
"""Little enough for the caller to seal it by itself."""


@pytest.mark.parametrize("timeout", [None, 20.0, 0.0], ids=["blocking", "timed", "non-blocking"])
def test_a_cold_file_arrives(
    make_link: Callable[..., Link], tmp_path: Path, timeout: float | None
) -> None:
    path = files.make(tmp_path, FILE_LEN)
    content = path.read_bytes()
    link = make_link()
    link.sock.settimeout(timeout)
    files.drop(str(path))
    before = ktls.sysctl["kern.ipc.tls.stats.cold_reads"]
    with path.open("rb") as file:
        assert link.sock.sendfile(file) == FILE_LEN
    passed_on = ktls.sysctl["kern.ipc.tls.stats.cold_reads"] != before
    assert passed_on == (timeout == 0)
    link.sock.close()
    assert read_data(link.peer, link.reader) == content


@pytest.mark.parametrize("timeout", [20, 0], ids=["timed", "non-blocking"])
def test_a_kernel_without_preadv2_sends_files(tmp_path: Path, timeout: int) -> None:
    """Nobody can tell warm from cold there: a file is read as any other program would."""
    run_program("no_preadv2", files.make(tmp_path, FILE_LEN), timeout).require_success()
