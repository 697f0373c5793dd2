"""``max_buffered``: the memory of all connections together, and nobody in anybody's way."""

import concurrent.futures
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import ktls
from keyed_link import Link
from support.forks import run_in_fork

PREFIX = "kern.ipc.tls."
BOUND = 1 << 20
RECORD = 16384
MakeLink = Callable[..., Link]
COUNT = 12


def buffered() -> int:
    return ktls.sysctl.number(PREFIX + "stats.buffered")


def eventually(what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end, f"{what}: not within 30 s"
        time.sleep(0.002)


@pytest.fixture(autouse=True)
def _bounded(enabled: None) -> Iterator[None]:
    """The bound is as low as it goes, and nothing is left of other tests."""
    eventually("an empty process", lambda: buffered() == 0)
    ktls.sysctl[PREFIX + "max_buffered"] = BOUND
    yield
    eventually("everything given back", lambda: buffered() == 0)


def fill(link: Link, size: int = RECORD) -> int:
    """Writes without waiting until it is refused; the bytes accepted."""
    link.sock.setblocking(False)
    accepted = 0
    with suppress(BlockingIOError):
        while accepted < 64 << 20:
            accepted += link.sock.send(bytes(size))
    assert accepted < 64 << 20, "nothing was refused"
    return accepted


@pytest.fixture
def stuck(make_link: MakeLink) -> Iterator[list[Link]]:
    """Connections that hold all there is, and whose peers read nothing; aborted at the end."""
    links = [make_link(small=True) for _ in range(COUNT)]
    for link in links:
        fill(link)
    assert buffered() > BOUND - RECORD
    yield links
    for link in links:
        link.sock.abort()


def test_all_together_hold_no_more_than_the_bound(stuck: list[Link]) -> None:
    held = sum(link.sock._stream.pending for link in stuck)
    assert held <= BOUND + 2 * COUNT * RECORD
    assert buffered() <= BOUND + 2 * COUNT * RECORD
    # Alone each might have held as much as all of them do.
    assert ktls.sysctl[PREFIX + "sendspace"] == BOUND


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "polled"])
def test_whose_peer_reads_gets_on(stuck: list[Link], make_link: MakeLink, blocking: bool) -> None:
    """Byte for byte, whatever the others hold."""
    link = make_link(small=True)
    data = os.urandom(40 * RECORD)
    link.sock.setblocking(blocking)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(drain(link, len(data))))
    reader.start()
    if blocking:
        link.sock.sendall(data)
    else:
        poll = select.poll()
        poll.register(link.sock.fileno(), select.POLLOUT)
        sent = 0
        while sent < len(data):
            try:
                sent += link.sock.send(data[sent:])
            except BlockingIOError:
                assert poll.poll(20_000), "it may go on, and poll does not say so"
    reader.join()
    assert received == [data]


def drain(link: Link, size: int) -> bytes:
    """The payload of as many records as that takes."""
    data = bytearray()
    while len(data) < size:
        data += link.read_some()
    return bytes(data)


def test_a_writer_that_waits_goes_on_when_its_own_peer_reads(stuck: list[Link]) -> None:
    link = stuck[0]
    link.sock.setblocking(True)
    before = link.sock._stream.pending
    writer = threading.Thread(target=link.sock.sendall, args=(bytes(10 * RECORD),))
    writer.start()
    while writer.is_alive():
        if select.select([link.peer], [], [], 0.01)[0]:
            link.peer.recv(1 << 16)
    assert before > 0


def test_a_waiting_writer_obeys_its_time_out(stuck: list[Link]) -> None:
    stuck[0].sock.settimeout(0.05)
    with pytest.raises(TimeoutError):
        stuck[0].sock.sendall(bytes(4 * RECORD))


def test_asynchronous_writes_end(stuck: list[Link], make_link: MakeLink) -> None:
    link = make_link(small=True)
    data = os.urandom(20 * RECORD)
    futures = [link.sock.aio_write(data) for _ in range(3)]
    assert drain(link, 3 * len(data)) == 3 * data
    assert [future.result(30) for future in futures] == [len(data)] * 3
    assert not concurrent.futures.wait(futures).not_done


def test_a_file_is_sent(stuck: list[Link], make_link: MakeLink, tmp_path: Path) -> None:
    """It is no memory before it is read, and then one record at a time."""
    data = os.urandom(60 * RECORD)
    path = tmp_path / "file"
    path.write_bytes(data)
    link = make_link(small=True)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(drain(link, len(data))))
    reader.start()
    with path.open("rb") as file:
        assert link.sock.sendfile(file) == len(data)
    reader.join()
    assert received == [data]
    assert buffered() <= BOUND + 2 * (COUNT + 1) * RECORD


def test_a_message_that_goes_whole_waits_for_its_own_connection_only(
    stuck: list[Link], make_link: MakeLink
) -> None:
    link = make_link()
    kind = [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([23]))]
    assert link.sock.sendmsg([bytes(5 * RECORD)], kind) == 5 * RECORD
    assert drain(link, 5 * RECORD) == bytes(5 * RECORD)


def test_room_that_others_give_back_is_used(stuck: list[Link], make_link: MakeLink) -> None:
    link = make_link(small=True)
    assert fill(link) < BOUND // 2
    for other in stuck:
        other.sock.abort()
    eventually("room", lambda: buffered() < BOUND // 2)
    # What is stuck in its own socket is the same; the rest is room again.
    assert fill(link) > BOUND // 4
    link.sock.abort()


def test_a_child_begins_with_nothing(stuck: list[Link]) -> None:
    """What the parent holds is not held in a process that was forked from it."""
    assert run_in_fork(buffered) == 0
    assert buffered() > 0


def test_a_socket_without_keys_is_counted_too(tcp_pair: tuple[socket.socket, ...]) -> None:
    near, _ = tcp_pair
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    near.setblocking(False)
    with ktls.Socket(near) as sock:
        with suppress(BlockingIOError):
            while True:
                sock.send(bytes(1 << 18))
        assert 0 < buffered() <= BOUND + 2 * RECORD
        sock.abort()
