"""What a poller is told: an edge after every refusal, and hang-ups that were not asked for."""

import asyncio
import contextlib
import errno
import os
import random
import select
import socket
import ssl
from pathlib import Path
from typing import BinaryIO

import pytest

import ktls
from full_link import until
from keyed_link import ALERT, connected
from support.ends import AUTHORITY, Call, Ends, connect, with_all_kinds, with_kinds, wrap

EDGE = select.EPOLLOUT | select.EPOLLET
REFUSED = (BlockingIOError, ssl.SSLWantWriteError)


@contextlib.contextmanager
def edge_poller(ends: Ends):
    ends.own.setblocking(False)
    poller = select.epoll()
    with poller:
        poller.register(ends.own.fileno(), EDGE)
        yield poller


@pytest.mark.rule("epoll(7) EPOLLET")
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


@pytest.mark.parametrize("kind", ["SW", "KEYED"])
def test_a_partial_write_alone_promises_an_edge(kind: str) -> None:
    """Not refused, but less than was given: the writer waits without asking once more."""
    total = 10_000_000
    with connect(kind, small=True) as ends, edge_poller(ends) as poller:
        reading = Call(ends.receive_exactly, total)
        sent = 0
        while sent < total:
            piece = bytes(min(300_000, total - sent))
            count = 0
            with contextlib.suppress(*REFUSED):
                count = ends.own.send(piece)
            sent += count
            if count < len(piece):
                assert poller.poll(20), f"no edge after {count} of {len(piece)}, at {sent}"
        assert reading.result() == bytes(total)


def test_a_refused_control_message_promises_an_edge() -> None:
    """It needs more room than there is, where a byte of data would find some."""
    with connect("KEYED", small=True) as ends, edge_poller(ends) as poller:
        reading = Call(ends.receive_all)
        sent = refusals = 0
        for turn in range(600):
            size = random.randrange(1, 20_000)
            while True:
                try:
                    if turn % 2:
                        ends.own.sendmsg([bytes(16_000)], ALERT)
                    else:
                        sent += ends.own.send(bytes(size))
                    break
                except BlockingIOError:
                    refusals += 1
                    assert poller.poll(20), f"no edge after refusal {refusals}, turn {turn}"
        assert refusals
        ends.own.close()
        assert reading.result() == bytes(sent)


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
    """A socket that refuses a byte is not writable until there is room."""
    with connect(kind, small=True) as ends:
        accepted = ends.fill()
        ends.own.setblocking(False)

        def full() -> bool:
            nonlocal accepted
            # The kernel takes a little more for a while.
            with contextlib.suppress(*REFUSED):
                accepted += ends.own.send(b"f")
                return False
            return select.select([], [ends.own], [], 0)[1] == []

        until(full)
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


@pytest.mark.rule("poll(2) POLLRDHUP")
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
        events = watch(ends, select.POLLIN, "poll")
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


# -- what is written to the number -----------------------------------------------------------------


@with_kinds
@pytest.mark.parametrize("state", ["writable", "full", "half-closed"])
def test_what_is_written_to_the_number_is_refused(kind: str, state: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3000))
    with connect(kind, small=True) as ends, path.open("rb") as file:
        number = ends.own.fileno()
        if state == "full":
            ends.fill()
        elif state == "half-closed":
            socket.socket.shutdown(ends.peer, socket.SHUT_WR)
            assert watch(ends, select.POLLRDHUP, "poll")(20)
        calls = {
            "write": lambda: os.write(number, b"clear"),
            "writev": lambda: os.writev(number, [b"clear", b"text"]),
            "sendfile": lambda: os.sendfile(number, file.fileno(), 0, 3000),
        }
        for name, call in calls.items():
            with pytest.raises(BrokenPipeError):
                pytest.fail(f"{name} took {call()} bytes")


@with_kinds
def test_a_long_write_to_the_number_of_a_writable_socket_is_refused(kind: str) -> None:
    with connect(kind) as ends, pytest.raises(BrokenPipeError):
        os.write(ends.own.fileno(), bytes(150_000))


def test_sendfile_of_an_event_loop_sends_what_it_says(tmp_path: Path) -> None:
    """The loop tries `os.sendfile` on the number, is refused, and falls back to `send`.

    It takes no SSLSocket, whosever that is.
    """
    path = tmp_path / "file"
    data = random.randbytes(200_000)
    path.write_bytes(data)

    async def send(file: BinaryIO) -> int:
        return await asyncio.get_running_loop().sock_sendfile(ends.own, file)

    with connect("KEYED") as ends, path.open("rb") as file:
        reading = Call(ends.receive_exactly, len(data))
        ends.own.setblocking(False)
        assert asyncio.run(send(file)) == len(data)
        assert reading.result() == data


# -- before the connection -------------------------------------------------------------------------


@contextlib.contextmanager
def fresh():
    with ktls.Socket(socket.socket()) as own, select.epoll() as poller:
        own.setblocking(False)
        poller.register(own.fileno(), select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP)
        assert poller.poll(0) == []
        yield own, own.fileno(), poller


def test_one_number_before_and_after_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, fresh() as (own, number, poller):
        assert own.connect_ex(server.getsockname()) in (0, errno.EINPROGRESS)
        assert poller.poll(20) == [(number, select.EPOLLOUT)]
        assert own.fileno() == number
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"x")
            assert select.select([number], [], [], 20)[0]
            assert own.recv(10) == b"x"
            assert poller.poll(0) == [(number, select.EPOLLOUT)]


def test_a_refused_connection_fails_under_the_same_number() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()
    with fresh() as (own, number, poller):
        assert own.connect_ex(nobody) in (errno.EINPROGRESS, errno.ECONNREFUSED)
        assert poller.poll(20)
        assert select.select([], [number], [], 20)[1]
        assert own.fileno() == number


def test_a_second_attempt_begins_anew_under_the_same_number() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()
    with socket.create_server(("127.0.0.1", 0)) as server, ktls.Socket(socket.socket()) as own:
        number = own.fileno()
        with pytest.raises(ConnectionRefusedError):
            own.connect(nobody)
        assert select.select([number], [number], [], 20)[:2] == ([number], [number])
        own.connect(server.getsockname())
        assert own.fileno() == number
        assert select.select([number], [number], [], 20)[:2] == ([], [number])


# -- what is no data -------------------------------------------------------------------------------

QUIET = 0.1
"""To see that nothing happens."""


@pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])
@pytest.mark.parametrize("poller", ["poll", "epoll"])
@pytest.mark.parametrize("kind", ["SW", "NONE"])
def test_a_handshake_is_nothing_to_read(kind: str, poller: str, server_side: bool) -> None:
    """The number was asked for before: what the peer said in the handshake has been read."""
    near, far = connected()
    own = wrap(kind, near, server_side, do_handshake_on_connect=False)
    number = own.fileno()
    handshake = Call(wrap, "STOCK", far, not server_side)
    own.do_handshake()
    with Ends(kind, own, handshake.result(), -1, None) as ends:
        assert own.fileno() == number
        events = watch(ends, select.POLLIN, poller)
        assert events(QUIET) == 0
        ends.say(b"x")
        assert events(20) == select.POLLIN
        assert own.recv(10) == b"x"
        assert events(QUIET) == 0


@pytest.mark.parametrize("poller", ["poll", "epoll", "edge"])
def test_tickets_are_nothing_to_read(poller: str) -> None:
    """A client that keeps them: they wait, and OpenSSL is told with the next read."""
    near, far = connected()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    context.num_tickets = 2
    peer = Call(lambda: context.wrap_socket(far, server_side=True))
    own = wrap("SW", near, False)
    with Ends("SW", own, peer.result(), -1, None) as ends:
        events = watch(ends, select.POLLIN, poller)
        assert events(QUIET) == 0
        ends.say(b"x")
        assert events(20) == select.POLLIN
        assert own.recv(10) == b"x"
        assert own.session is not None
