"""``aio_write`` at the end of a connection, and the callbacks of its futures."""

import concurrent.futures
import errno
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest

import ktls
from full_link import PENDING, Reading, keep, until
from keyed_link import Link, reset
from record_reader import read_records

MakeLink = Callable[..., Link]


@pytest.fixture
def tight(make_link: MakeLink) -> Link:
    """A connection that holds little."""
    keep(65536)
    return make_link(small=True)


# -- one after the other ---------------------------------------------------------------------------


def test_first_aio_write_ends_while_the_last_has_no_room(tight: Link) -> None:
    futures = [tight.sock.aio_write(bytes(20_000)) for _ in range(100)]
    received = 0
    while received < 1_000_000:
        received += len(tight.peer.recv(20_000))
    until(futures[0].done)
    assert not futures[-1].done()


# -- the end of the connection ---------------------------------------------------------------------


def test_close_leaves_an_aio_write_to_be_sent(tight: Link) -> None:
    data = [bytes([number]) * 20_000 for number in range(50)]
    futures = [tight.sock.aio_write(piece) for piece in data]
    assert not futures[-1].done()
    assert Reading(tight).data() == b"".join(data)
    assert [future.result(20) for future in futures] == [20_000] * 50


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_shutdown_leaves_an_aio_write_to_be_sent(tight: Link, how: int) -> None:
    data = [bytes([number]) * 20_000 for number in range(50)]
    futures = [tight.sock.aio_write(piece) for piece in data]
    tight.sock.shutdown(how)
    with pytest.raises(BrokenPipeError):
        tight.sock.aio_write(b"too late")
    records = read_records(tight.peer, tight.reader)
    assert b"".join(payload for _, payload in records) == b"".join(data)
    assert [future.result(20) for future in futures] == [20_000] * 50


def test_aio_write_after_the_end_is_refused(link: Link) -> None:
    before = ktls.sysctl[PENDING]
    link.sock.shutdown(socket.SHUT_WR)
    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            link.sock.aio_write(b"x")
    link.sock.close()
    with pytest.raises(OSError, match="closed") as caught:
        link.sock.aio_write(b"x")
    assert caught.value.errno == errno.EBADF
    assert ktls.sysctl[PENDING] == before


def test_a_reset_ends_every_future(tight: Link) -> None:
    pending = ktls.sysctl[PENDING]
    futures = [tight.sock.aio_write(bytes(20_000)) for _ in range(200)]
    framed = sum(future.done() for future in futures)
    reset(tight.peer)
    _, not_done = concurrent.futures.wait(futures, 20)
    assert not not_done
    errors = [future.exception() for future in futures]
    assert len([error for error in errors if error is None]) <= max(framed, 20)
    for error in errors[-100:]:
        assert isinstance(error, OSError)
        assert error.errno in (errno.ECONNRESET, errno.EPIPE)
    until(lambda: ktls.sysctl[PENDING] == pending)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        tight.sock.aio_write(b"x")
    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            tight.sock.aio_write(b"x")


def test_a_reset_after_close_ends_every_future(tight: Link) -> None:
    futures = [tight.sock.aio_write(bytes(20_000)) for _ in range(200)]
    tight.sock.close()
    reset(tight.peer)
    _, not_done = concurrent.futures.wait(futures, 20)
    assert not not_done
    assert isinstance(futures[-1].exception(), OSError)


def test_errors_of_futures_are_not_shared(tight: Link) -> None:
    """Each future has an exception of its own, whose traceback others do not grow."""
    futures = [tight.sock.aio_write(bytes(20_000)) for _ in range(20)]
    reset(tight.peer)
    concurrent.futures.wait(futures, 20)
    errors = [error for future in futures if (error := future.exception()) is not None]
    assert len({id(error) for error in errors}) == len(errors)


# -- callbacks -------------------------------------------------------------------------------------


def test_callback_of_a_future_that_raises_is_logged(
    link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, as for any future of its kind; the others end."""
    ended: list[int] = []

    def fail(future: Future[int]) -> None:
        raise ZeroDivisionError

    ktls.sysctl["kern.ipc.tls.debug.seal_delay_us"] = 20_000
    ktls.sysctl["kern.ipc.tls.gather_max"] = 0
    link.sock.setblocking(False)
    futures = [link.sock.aio_write(bytes(100_000)) for _ in range(5)]
    for future in futures:
        future.add_done_callback(fail)
        future.add_done_callback(lambda future: ended.append(future.result()))
    reading = Reading(link)
    assert [future.result(20) for future in futures] == [100_000] * 5
    until(lambda: len(ended) == 5)
    assert link.sock.aio_write(b"goes on").result(20) == 7
    assert reading.data() == bytes(500_000) + b"goes on"
    assert "ZeroDivisionError" in caplog.text


def test_a_callback_may_use_the_socket(tight: Link) -> None:
    """It writes on, also in the way that waits, and asks and closes."""
    end = threading.Event()
    turns = 50

    def go_on(future: Future[int]) -> None:
        nonlocal turns
        turns -= 1
        if not turns:
            tight.sock.close()
            end.set()
            return
        if turns % 2:
            tight.sock.send(b"sent")
        tight.sock.aio_write(bytes(3000)).add_done_callback(go_on)

    reading = Reading(tight)
    tight.sock.aio_write(bytes(3000)).add_done_callback(go_on)
    assert end.wait(20)
    assert len(reading.data()) == 50 * 3000 + 25 * 4
