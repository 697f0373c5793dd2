"""Linux's mutliproc cases with threads: many write and many read on one socket at once."""

import os
import socket
import threading
from pathlib import Path

import pytest

from conformance.linux import Receiver, two_variants
from keyed_link import Link

VOLUME = 6 << 20
PIECE = 4096


@two_variants
@pytest.mark.parametrize("files", [False, True], ids=["send", "sendpage"])
@pytest.mark.parametrize(
    ("readers", "writers"),
    [
        pytest.param(6, 6, id="mutliproc_even"),
        pytest.param(12, 4, id="mutliproc_readers"),
        pytest.param(2, 10, id="mutliproc_writers"),
    ],
)
def test_mutliproc(link: Link, tmp_path: Path, readers: int, writers: int, files: bool) -> None:
    """Every piece arrives whole, and what comes in meanwhile is all read."""
    turns = VOLUME // PIECE // writers
    counts = [0] * readers
    path = tmp_path / "file"
    pieces = [mark.to_bytes(2, "big") * (PIECE // 2) for mark in range(writers)]
    path.write_bytes(b"".join(pieces))

    def write(mark: int) -> None:
        with path.open("rb") as file:
            for _ in range(turns):
                if files:
                    assert link.sock.sendfile(file, mark * PIECE, PIECE) == PIECE
                else:
                    link.sock.sendall(pieces[mark])

    def read(index: int) -> None:
        while part := link.sock.recv(65536):
            counts[index] += len(part)

    threads = [threading.Thread(target=write, args=(mark,)) for mark in range(writers)]
    listeners = [threading.Thread(target=read, args=(index,)) for index in range(readers)]
    receiver = Receiver(link)
    for thread in threads + listeners:
        thread.start()
    link.peer.sendall(os.urandom(VOLUME))
    link.peer.shutdown(socket.SHUT_WR)
    for thread in threads + listeners:
        thread.join()
    assert sum(counts) == VOLUME
    data = receiver.data()
    found = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    assert len(found) == turns * writers
    assert sorted(found) == sorted(pieces * turns)
