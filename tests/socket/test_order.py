"""Order and wholeness: tiny buffers, random cuts, random delays, many threads."""

import hashlib
import os
import random
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

import ktls
from keyed_link import ALERT, Link
from record_reader import SUITES, Suite, raw_records, read_data, read_records

MakeLink = Callable[..., Link]

VOLUME = 24 << 20
"""Bytes that the tests of random cuts move."""
LARGE_VOLUME = 1 << 30
"""The same, under the marker ``large``."""


class HashingReader(threading.Thread):
    """Opens everything that arrives and keeps its hash and length."""

    def __init__(self, link: Link) -> None:
        super().__init__(daemon=True)
        self._link = link
        self.length = 0
        self.digest = ""
        self.start()

    def run(self) -> None:
        digest = hashlib.sha256()
        for record in raw_records(self._link.peer):
            payload = self._link.reader.open(record)[1]
            digest.update(payload)
            self.length += len(payload)
        self.digest = digest.hexdigest()


def send_random_cuts(link: Link, volume: int, path: Path) -> str:
    """Send `volume` bytes in random pieces in every way there is; returns their hash."""
    chooser = random.Random(volume)
    digest = hashlib.sha256()
    pool = os.urandom(1 << 20)
    path.write_bytes(pool)
    left = volume
    with path.open("rb") as file:
        while left > 0:
            size = min(left, chooser.choice([1, 100, 5000, 16384, 40_000, 300_000, 1 << 20]))
            start = chooser.randrange(len(pool) - size + 1)
            piece = pool[start : start + size]
            match chooser.randrange(5):
                case 0:
                    link.sock.sendall(piece)
                case 1:
                    assert link.sock.send(bytearray(piece)) == size
                case 2:
                    cut = chooser.randrange(size)
                    assert link.sock.sendmsg([piece[:cut], piece[cut:]]) == size
                case 3:
                    assert link.sock.sendfile(file, start, size) == size
                case 4:
                    view = memoryview(piece)
                    link.sock.settimeout(5)
                    while view:
                        view = view[link.sock.send(view) :]
                    link.sock.settimeout(None)
            digest.update(piece)
            left -= size
    return digest.hexdigest()


def check_random_cuts(link: Link, volume: int, path: Path) -> None:
    reader = HashingReader(link)
    digest = send_random_cuts(link, volume, path)
    link.sock.close()
    reader.join(600)
    assert reader.length == volume
    assert reader.digest == digest


@pytest.mark.parametrize("suite", [SUITES[0], SUITES[5]], ids=str)
def test_tiny_buffers_and_random_cuts(make_link: MakeLink, tmp_path: Path, suite: Suite) -> None:
    ktls.sysctl["kern.ipc.tls.sendspace"] = 200_000
    ktls.sysctl["kern.ipc.tls.sendlowat"] = 100_000
    check_random_cuts(make_link(suite, small=True), VOLUME // 8, tmp_path / "pool")


def test_random_cuts_keep_the_order(make_link: MakeLink, tmp_path: Path) -> None:
    check_random_cuts(make_link(), VOLUME, tmp_path / "pool")


@pytest.mark.large
@pytest.mark.timeout(600)
def test_a_gigabyte_of_tiny_buffers_and_random_cuts(make_link: MakeLink, tmp_path: Path) -> None:
    check_random_cuts(make_link(small=True), LARGE_VOLUME, tmp_path / "pool")


@pytest.mark.parametrize("depth", [1, 3, 16])
def test_random_delays_before_sealing(make_link: MakeLink, tmp_path: Path, depth: int) -> None:
    ktls.sysctl["kern.ipc.tls.debug.seal_delay_us"] = 3000
    ktls.sysctl["kern.ipc.tls.flush_unit"] = 16384
    ktls.sysctl["kern.ipc.tls.pipeline_depth"] = depth
    ktls.sysctl["kern.ipc.tls.handoff_min"] = 0
    check_random_cuts(make_link(), 3 << 20, tmp_path / "pool")


def test_random_delays_without_waiting(make_link: MakeLink) -> None:
    """A non-blocking caller leaves the sealing to the workers."""
    ktls.sysctl["kern.ipc.tls.debug.seal_delay_us"] = 3000
    ktls.sysctl["kern.ipc.tls.flush_unit"] = 16384
    ktls.sysctl["kern.ipc.tls.inline_max"] = 0
    ktls.sysctl["kern.ipc.tls.sendspace"] = 4 << 20
    link = make_link()
    data = random.randbytes(3 << 20)
    reader = HashingReader(link)
    link.sock.setblocking(False)
    position = 0
    while position < len(data):
        position += link.sock.send(data[position : position + 50_000])
    link.sock.close()
    reader.join(30)
    assert reader.digest == hashlib.sha256(data).hexdigest()


def test_threads_share_a_socket(make_link: MakeLink) -> None:
    """Writes are whole, though perhaps of several records; each thread's arrive in its order."""
    ktls.sysctl["kern.ipc.tls.sendspace"] = 200_000
    ktls.sysctl["kern.ipc.tls.debug.seal_delay_us"] = 200
    link = make_link(small=True)
    threads_count, calls = 6, 60
    records: list[tuple[int, bytes]] = []
    reading = threading.Thread(
        target=lambda: records.extend(read_records(link.peer, link.reader)), daemon=True
    )
    reading.start()

    def message(thread: int, call: int) -> bytes:
        size = random.Random(thread * 1000 + call).choice([8, 500, 5000, 16384, 50_000])
        return bytes([thread, call]) + size.to_bytes(4, "big") + bytes([call]) * size

    def work(thread: int) -> None:
        for call in range(calls):
            data = message(thread, call)
            kind = ALERT if call % 2 else ()
            match (thread + call) % 3:
                case 0:
                    assert link.sock.send(data) == len(data)
                case 1:
                    link.sock.sendall(bytearray(data))
                case 2:
                    assert link.sock.sendmsg([data], kind) == len(data)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    link.sock.close()
    reading.join(30)
    seen: dict[int, list[int]] = defaultdict(list)
    stream = b"".join(data for _, data in records)
    while stream:
        thread_number, call = stream[0], stream[1]
        expected = message(thread_number, call)
        assert stream.startswith(expected)
        stream = stream[len(expected) :]
        seen[thread_number].append(call)
    assert seen == {number: list(range(calls)) for number in range(threads_count)}


def test_long_writes_of_threads_are_not_mixed(make_link: MakeLink) -> None:
    ktls.sysctl["kern.ipc.tls.sendspace"] = 100_000
    ktls.sysctl["kern.ipc.tls.sendlowat"] = 50_000
    link = make_link()
    size = 400_000
    received: list[bytes] = []
    reading = threading.Thread(
        target=lambda: received.append(read_data(link.peer, link.reader)), daemon=True
    )
    reading.start()
    threads = [
        threading.Thread(target=link.sock.send, args=(bytes([number]) * size,))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    link.sock.close()
    reading.join(30)
    pieces = [received[0][start : start + size] for start in range(0, 4 * size, size)]
    assert sorted(pieces) == [bytes([number]) * size for number in range(4)]


def test_many_connections_at_once(make_link: MakeLink) -> None:
    data = random.randbytes(2 << 20)
    digest = hashlib.sha256(data).hexdigest()
    links = [make_link(SUITES[number % len(SUITES)], small=number % 2 == 0) for number in range(12)]
    readers = [HashingReader(link) for link in links]
    senders = [threading.Thread(target=link.sock.sendall, args=(data,)) for link in links]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    for link in links:
        link.sock.close()
    for reader in readers:
        reader.join(60)
    assert [reader.digest for reader in readers] == [digest] * 12
