"""Linux's sendfile cases: whole files, files behind data, and files in pieces."""

import os
import sys
from pathlib import Path

import pytest

from conformance.linux import Receiver, every_variant
from keyed_link import Link

PAIRS = [
    (4096, 4096),
    (4096, 0),
    (4096, 1),
    (4096, 2048),
    (8192, 2048),
    (4096, 8192),
    (8192, 4096),
    (12288, 1024),
    (12288, 2000),
    (15360, 100),
    (15360, 300),
    (1, 4096),
    (2048, 4096),
    (2048, 8192),
    (4096, 8192),
    (1024, 12288),
    (2000, 12288),
    (100, 15360),
    (300, 15360),
]


@pytest.fixture(scope="module")
def executable() -> Path:
    """What /proc/self/exe leads to."""
    return Path(sys.executable).resolve()


@every_variant
def test_sendfile(link: Link, executable: Path) -> None:
    receiver = Receiver(link)
    with executable.open("rb") as file:
        assert link.sock.sendfile(file) == executable.stat().st_size
    assert receiver.data() == executable.read_bytes()


@every_variant
def test_send_then_sendfile(link: Link, executable: Path) -> None:
    receiver = Receiver(link)
    assert link.sock.send(b"test_send\0") == 10
    with executable.open("rb") as file:
        assert link.sock.sendfile(file) == executable.stat().st_size
    assert link.sock.send(b"and then") == 8
    assert receiver.data() == b"test_send\0" + executable.read_bytes() + b"and then"


@every_variant
@pytest.mark.parametrize(
    ("chunk", "extra"),
    [pytest.param(*pair, id=f"{i}-{pair[0]}-{pair[1]}") for i, pair in enumerate(PAIRS)],
)
def test_multi_chunk_sendfile(link: Link, tmp_path: Path, chunk: int, extra: int) -> None:
    """Pieces of `chunk` bytes, the last one shorter; at least one record for each."""
    data = os.urandom(chunk + extra)
    path = tmp_path / "file"
    path.write_bytes(data)
    receiver = Receiver(link)
    calls = 0
    with path.open("rb") as file:
        for offset in range(0, len(data), chunk):
            wanted = min(chunk, len(data) - offset)
            assert link.sock.sendfile(file, offset, chunk) == wanted
            assert file.tell() == offset + wanted
            calls += 1
    assert receiver.data() == data
    assert len(receiver.records) == calls
