"""Linux's cases of waiting for data: a socket is readable when there is something to return.

A part of a record is nothing to return; what is left of one that was read in part is.
"""

import select
import socket
import threading
from collections.abc import Callable

import pytest

from conformance.linux import every_receiving_variant, two_receiving_variants
from keyed_receiver import ReceivingLink, receive_record
from record_writer import changed

SHORT_MS = 30
"""To see that nothing happens."""
LONG_MS = 20_000


def poll(link: ReceivingLink, timeout_ms: int) -> bool:
    """Whether the socket is readable, by poll(2)."""
    poller = select.poll()
    poller.register(link.sock, select.POLLIN)
    events = poller.poll(timeout_ms)
    assert events in ([], [(link.sock.fileno(), select.POLLIN)])
    return bool(events)


def not_readable(link: ReceivingLink) -> None:
    assert not poll(link, SHORT_MS)
    with pytest.raises(BlockingIOError):
        link.sock.recv(100, socket.MSG_DONTWAIT)


def in_background(call: Callable[[], bool]) -> Callable[[], bool]:
    """Call it in a thread; the result, once it is there."""
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()

    def result() -> bool:
        thread.join(30)
        return results[0]

    return result


@every_receiving_variant
def test_pollin(receiving_link: ReceivingLink) -> None:
    not_readable(receiving_link)
    receiving_link.send(b"test_poll")
    assert poll(receiving_link, LONG_MS)
    assert receiving_link.sock.recv(100) == b"test_poll"
    not_readable(receiving_link)


@every_receiving_variant
def test_poll_wait(receiving_link: ReceivingLink) -> None:
    waiting = in_background(lambda: poll(receiving_link, LONG_MS))
    receiving_link.send(b"test_poll_wait")
    assert waiting()
    assert receiving_link.sock.recv(100, socket.MSG_WAITALL | socket.MSG_DONTWAIT) == (
        b"test_poll_wait"
    )


@every_receiving_variant
def test_poll_wait_split(receiving_link: ReceivingLink) -> None:
    """Five bytes stay inside: there is no event of the kernel's socket for them."""
    waiting = in_background(lambda: poll(receiving_link, LONG_MS))
    receiving_link.send(b"test_poll_wait")
    assert waiting()
    assert receiving_link.sock.recv(9, socket.MSG_WAITALL) == b"test_poll"
    for _ in range(2):
        assert poll(receiving_link, LONG_MS)
    assert receiving_link.sock.recv(100) == b"_wait"
    not_readable(receiving_link)


@every_receiving_variant
def test_poll_records_behind_the_first(receiving_link: ReceivingLink) -> None:
    """Three records in one segment: readable until the last is read."""
    receiving_link.send_records((23, b"one"), (100, b"two"), (23, b"three"))
    for record in ((23, b"one"), (100, b"two"), (23, b"three")):
        assert poll(receiving_link, LONG_MS)
        assert receive_record(receiving_link) == record
    not_readable(receiving_link)


@every_receiving_variant
def test_poll_partial_rec(receiving_link: ReceivingLink) -> None:
    """No event before the record is whole, wherever it is cut."""
    record = receiving_link.writer.seal(b"test_partial")
    for piece in (record[:3], record[3:5], record[5:20]):
        receiving_link.peer.sendall(piece)
        not_readable(receiving_link)
    receiving_link.peer.sendall(record[20:])
    assert poll(receiving_link, LONG_MS)
    assert receiving_link.sock.recv(100, socket.MSG_DONTWAIT) == b"test_partial"


@every_receiving_variant
def test_poll_partial_rec_behind_a_whole_one(receiving_link: ReceivingLink) -> None:
    whole = receiving_link.writer.seal(b"whole")
    partial = receiving_link.writer.seal(b"partial")
    receiving_link.peer.sendall(whole + partial[:-1])
    assert poll(receiving_link, LONG_MS)
    assert receiving_link.sock.recv(100) == b"whole"
    not_readable(receiving_link)
    receiving_link.peer.sendall(partial[-1:])
    assert poll(receiving_link, LONG_MS)
    assert receiving_link.sock.recv(100, socket.MSG_DONTWAIT) == b"partial"


@pytest.mark.parametrize("edge", [False, True], ids=["level", "edge"])
@every_receiving_variant
def test_epoll_partial_rec(receiving_link: ReceivingLink, edge: bool) -> None:
    """By epoll, also when it tells of changes alone."""
    sock = receiving_link.sock
    with select.epoll() as poller:
        poller.register(sock, select.EPOLLIN | (select.EPOLLET if edge else 0))
        for round_ in range(3):
            data = b"test_partial %d" % round_
            record = receiving_link.writer.seal(data)
            receiving_link.peer.sendall(record[:8])
            assert poller.poll(SHORT_MS / 1000) == []
            receiving_link.peer.sendall(record[8:])
            assert poller.poll(LONG_MS / 1000) == [(sock.fileno(), select.EPOLLIN)]
            assert sock.recv(100, socket.MSG_DONTWAIT) == data
            with pytest.raises(BlockingIOError):
                sock.recv(100, socket.MSG_DONTWAIT)


@every_receiving_variant
def test_poll_partial_rec_async(receiving_link: ReceivingLink) -> None:
    """One who waits already is woken by the end of the record, not by its beginning."""
    for round_ in range(5):
        data = b"test_partial_async %d" % round_
        record = receiving_link.writer.seal(data)
        receiving_link.peer.sendall(record[: 4 + round_])
        waiting = in_background(lambda: poll(receiving_link, LONG_MS))
        receiving_link.peer.sendall(record[4 + round_ :])
        assert waiting()
        assert receiving_link.sock.recv(100, socket.MSG_DONTWAIT) == data


@two_receiving_variants
def test_poll_tells_of_the_end_and_of_errors(receiving_link: ReceivingLink) -> None:
    receiving_link.peer.sendall(changed(receiving_link.writer.seal(b"bad"), -1))
    assert poll(receiving_link, LONG_MS)
    with pytest.raises(OSError, match=r".") as caught:
        receiving_link.sock.recv(100, socket.MSG_DONTWAIT)
    assert not isinstance(caught.value, BlockingIOError)
    not_readable(receiving_link)
    receiving_link.peer.shutdown(socket.SHUT_WR)
    assert receiving_link.sock.recv(100) == b""
    readable = select.select([receiving_link.sock], [], [], LONG_MS / 1000)[0]
    assert readable == [receiving_link.sock]


@two_receiving_variants
def test_poll_with_lowat(receiving_link: ReceivingLink) -> None:
    """SO_RCVLOWAT counts plaintext."""
    receiving_link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 8)
    receiving_link.send(b"few")
    assert not poll(receiving_link, SHORT_MS)
    receiving_link.send(b"bytes")
    assert poll(receiving_link, LONG_MS)
    assert receiving_link.sock.recv(8, socket.MSG_WAITALL) == b"fewbytes"
