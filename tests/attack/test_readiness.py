"""What a poller is told: an edge after every refusal, and hang-ups that were not asked for."""

import contextlib
import select
import socket
import ssl
from pathlib import Path

import pytest

from keyed_link import ALERT
from support.ends import Call, Ends, connect, with_all_kinds, with_kinds

EDGE = select.EPOLLOUT | select.EPOLLET
REFUSED = (BlockingIOError, ssl.SSLWantWriteError)


@contextlib.contextmanager
def edge_poller(ends: Ends):
    ends.own.setblocking(False)
    poller = select.epoll()
    with poller:
        poller.register(ends.own.fileno(), EDGE)
        yield poller


@with_all_kinds
@pytest.mark.parametrize("size", [1, 1000, 16_384, 100_000, 300_000])
def test_a_part_of_a_write_promises_an_edge(kind: str, size: int) -> None:
    """The loop of every edge-triggered server: write until refused, then wait for the edge."""
    total = min(size * 20_000, 6_000_000)
    with connect(kind, small=True) as ends, edge_poller(ends) as poller:
        reading = Call(ends.receive_exactly, total)
        sent = refusals = 0
        while sent < total:
            piece = bytes(min(size, total - sent))
            try:
                while piece:
                    count = ends.own.send(piece)
                    sent += count
                    piece = piece[count:]
            except REFUSED:
                refusals += 1
                assert poller.poll(20), f"no edge after refusal {refusals} at {sent}"
        assert reading.result() == bytes(total)


@with_kinds
def test_a_partial_write_alone_promises_an_edge(kind: str) -> None:
    """Not refused, but less than was given: who knows that waits without asking once more."""
    with connect(kind, small=True) as ends, edge_poller(ends) as poller:
        poller.poll(0)
        accepted = 0
        data = bytes(300_000)
        while True:
            try:
                count = ends.own.send(data)
            except REFUSED:
                break
            accepted += count
            if count < len(data) and kind != "NONE":
                break
        while poller.poll(0):
            pass
        reading = Call(ends.receive_exactly, accepted)
        assert poller.poll(20)
        assert reading.result() == bytes(accepted)


def test_a_refused_control_message_promises_an_edge() -> None:
    """It needs more room than there is, where a byte of data would find some."""
    with connect("KEYED", small=True) as ends, edge_poller(ends) as poller:
        for room in (100, 5_000, 16_000, 30_000):
            accepted = fill_but(ends, room)
            message = bytes(16_000)
            refused = False
            try:
                while True:
                    ends.own.sendmsg([message], ALERT)
            except BlockingIOError:
                refused = True
            assert refused
            while poller.poll(0):
                pass
            reading = Call(ends.receive_exactly, accepted)
            assert poller.poll(20), (
                f"no edge for a message, {room} bytes before the end of the room"
            )
            reading.result()


def fill_but(ends: Ends, room: int) -> int:
    """Write until the socket takes no byte, then let the peer make about so much room."""
    accepted = ends.fill()
    ends.own.setblocking(False)
    read = 0
    while read < room:
        read += len(ends.receive())
    return accepted - read


@with_kinds
def test_a_refused_sendfile_promises_an_edge(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    total = 5_000_000
    path.write_bytes(bytes(total))
    with connect(kind, small=True) as ends, edge_poller(ends) as poller, path.open("rb") as file:
        reading = Call(ends.receive_exactly, total)
        refusals = 0
        while file.tell() < total:
            with contextlib.suppress(*REFUSED):
                ends.own.sendfile(file, file.tell())
            if file.tell() < total:
                refusals += 1
                assert poller.poll(20), f"no edge after refusal {refusals} at {file.tell()}"
        assert reading.result() == bytes(total)


@with_kinds
def test_a_poller_of_a_level_agrees(kind: str) -> None:
    """After a refusal the socket is not writable until there is room."""
    with connect(kind, small=True) as ends:
        accepted = ends.fill()
        ends.own.setblocking(False)
        with pytest.raises(REFUSED):
            ends.own.send(b"x")
        assert select.select([], [ends.own], [], 0)[1] == []
        assert ends.receive_exactly(accepted) == b"f" * accepted
        assert select.select([], [ends.own], [], 20)[1] == [ends.own]
        assert ends.own.send(b"x") == 1


# -- hang-ups --------------------------------------------------------------------------------------

MASKS = {"RDHUP": select.POLLRDHUP, "HUP": select.POLLHUP, "ERR": select.POLLERR, "nothing": 0}
GONE = select.POLLHUP | select.POLLERR


@with_all_kinds
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("poller", ["poll", "epoll", "edge"])
def test_a_reset_is_told_whatever_was_asked_for(kind: str, mask: str, poller: str) -> None:
    with connect(kind) as ends:
        events = watch(ends, MASKS[mask], poller)
        assert events(0) == 0
        ends.reset()
        told = events(20)
        assert told & GONE
        if mask == "RDHUP":
            assert told & select.POLLRDHUP


@with_all_kinds
@pytest.mark.parametrize("poller", ["poll", "epoll", "edge"])
def test_the_end_of_the_peers_writing_is_told(kind: str, poller: str) -> None:
    """A half-closed connection: POLLRDHUP alone, and we may still write."""
    with connect(kind) as ends:
        events = watch(ends, select.POLLRDHUP, poller)
        assert events(0) == 0
        socket.socket.shutdown(ends.peer, socket.SHUT_WR)
        assert events(20) == select.POLLRDHUP
        ends.own.sendall(b"still")
        assert ends.receive_exactly(5) == b"still"


@with_all_kinds
def test_nobody_is_told_of_a_connection_that_lives(kind: str) -> None:
    with connect(kind) as ends:
        told = [watch(ends, mask, "poll") for mask in MASKS.values()]
        ends.own.sendall(b"x")
        assert ends.receive_exactly(1) == b"x"
        ends.say(b"y")
        assert ends.own.recv(1) == b"y"
        assert [events(0) for events in told] == [0] * len(MASKS)


@with_kinds
def test_abort_hangs_up(kind: str) -> None:
    """A poller that waits for the connection is told when another thread aborts it."""
    with connect(kind, small=True) as ends:
        ends.fill()
        events = watch(ends, select.POLLOUT, "poll")
        waiting = Call(events, 20)
        waiting.join(0.1)
        assert waiting.is_alive()
        ends.own.abort()
        assert waiting.result()


def watch(ends: Ends, mask: int, poller: str):
    """A function that waits for events of this mask, and returns them."""
    if poller == "poll":
        poll = select.poll()
        poll.register(ends.own.fileno(), mask)

        def events(seconds: float) -> int:
            return sum(event for _, event in poll.poll(seconds * 1000))
    else:
        epoll = select.epoll()
        epoll.register(ends.own.fileno(), mask | (select.EPOLLET if poller == "edge" else 0))

        def events(seconds: float) -> int:
            return sum(event for _, event in epoll.poll(seconds))

    return events
