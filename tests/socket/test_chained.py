"""TLS 1.0 with AES-CBC: each record's IV is the end of the one before, whoever seals and whenever.

The engine has to seal first in, first out here; a record out of order would not open.
"""

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import ktls
from keyed_link import Link
from record_reader import CBC_SUITES, read_data, read_records

MakeLink = Callable[..., Link]
CHAINED = [suite for suite in CBC_SUITES if suite.tls_vminor == 1]
DELAY = "kern.ipc.tls.debug.seal_delay_us"


@pytest.fixture(params=CHAINED, ids=str)
def chained(request: pytest.FixtureRequest, make_link: MakeLink) -> Link:
    return make_link(request.param)


@pytest.fixture
def file(tmp_path: Path) -> tuple[Path, bytes]:
    data = os.urandom(3 << 20)
    path = tmp_path / "file"
    path.write_bytes(data)
    return path, data


def forget(path: Path) -> None:
    """Drop the file from memory, where there is a disk below: its reads end late then."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.rule("RFC 2246 6.2.3.2")
def test_short_writes_behind_a_unit_that_is_being_sealed(chained: Link) -> None:
    """A worker has claimed the unit and dawdles; the caller must not seal what follows it."""
    ktls.sysctl[DELAY] = 50_000
    ktls.sysctl["kern.ipc.tls.flush_unit"] = 1 << 20
    sent = bytearray()
    received: list[bytes] = []
    reader = threading.Thread(
        target=lambda: received.append(read_data(chained.peer, chained.reader))
    )
    reader.start()
    for size in (700_000, 10, 20, 600_000, 1, 300_000, 2):
        data = os.urandom(size)
        chained.sock.setblocking(size < 100)
        sent += data[: chained.sock.send(data)]
        time.sleep(0.005)
    chained.sock.close()
    reader.join()
    assert received == [sent]


def test_files_that_are_read_late_keep_the_chain(chained: Link, file: tuple[Path, bytes]) -> None:
    path, data = file
    ktls.sysctl[DELAY] = 2_000
    chooser = random.Random(10)
    chained.sock.settimeout(20)
    sent = bytearray()
    received: list[bytes] = []
    reader = threading.Thread(
        target=lambda: received.append(read_data(chained.peer, chained.reader))
    )
    reader.start()
    with path.open("rb") as opened:
        for _ in range(12):
            forget(path)
            start = chooser.randrange(len(data) // 2)
            count = chooser.randrange(1, len(data) // 2)
            chained.sock.setblocking(False)
            accepted = 0
            with contextlib.suppress(BlockingIOError):
                accepted = chained.sock.sendfile(opened, start, count)
            sent += data[start : start + accepted]
            chained.sock.setblocking(True)
            piece = os.urandom(chooser.choice([1, 17, 5000, 100_000]))
            chained.sock.sendall(piece)
            sent += piece
    chained.sock.close()
    reader.join()
    assert received == [sent]


@pytest.mark.rule("RFC 2246 6.2.3.2")
def test_writers_and_workers_at_once_keep_the_chain(chained: Link) -> None:
    """Each write of one record arrives whole, whatever the threads do."""
    ktls.sysctl[DELAY] = 200
    writers, turns = 4, 60
    start = threading.Barrier(writers + 1)

    def write(mark: int) -> None:
        start.wait()
        for turn in range(turns):
            size = random.choice([2, 100, 3000])
            chained.sock.sendall(bytes([mark, turn]) * (size // 2))

    threads = [threading.Thread(target=write, args=(mark,)) for mark in range(writers)]
    for thread in threads:
        thread.start()
    received: list[tuple[int, bytes]] = []
    reader = threading.Thread(
        target=lambda: received.extend(read_records(chained.peer, chained.reader))
    )
    reader.start()
    start.wait()
    for thread in threads:
        thread.join()
    chained.sock.close()
    reader.join()
    assert len(received) == writers * turns
    for mark in range(writers):
        own = [payload for _, payload in received if payload[0] == mark]
        assert [payload[1] for payload in own] == list(range(turns))
        assert all(payload == payload[:2] * (len(payload) // 2) for payload in own)


@pytest.mark.parametrize("suite", CHAINED, ids=str)
def test_reader_that_takes_little_gets_the_chain(make_link: MakeLink, suite: object) -> None:
    link = make_link(suite, small=True)
    ktls.sysctl[DELAY] = 500
    data = os.urandom(100_000)

    def write() -> None:
        for at in range(0, len(data), 999):
            link.sock.sendall(data[at : at + 999])
        link.sock.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert read_data(link.peer, link.reader) == data
    writer.join()
