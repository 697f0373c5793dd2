"""Sockets that must wait: timeouts, non-blocking mode, flush, shutdown, close, errors found
later."""

import errno
import random
import signal
import socket
import threading
import time
from collections.abc import Callable

import pytest

import ktls
from keyed_link import Link, reset
from record_reader import read_data, read_exactly, read_records

MakeLink = Callable[..., Link]


class Drain(threading.Thread):
    """Reads a connection to its end in the background, after `delay` seconds."""

    def __init__(self, link: Link, delay: float = 0) -> None:
        super().__init__(daemon=True)
        self._link = link
        self._delay = delay
        self.data = b""
        self.start()

    def run(self) -> None:
        time.sleep(self._delay)
        self.data = read_data(self._link.peer, self._link.reader)

    def finish(self) -> bytes:
        self._link.sock.close()
        self.join(30)
        assert not self.is_alive()
        return self.data


def fill(sock: ktls.Socket, size: int = 10_000) -> int:
    """Send until nothing more is accepted; returns the bytes accepted."""
    sent = 0
    while True:
        try:
            sent += sock.send(bytes(size))
        except (BlockingIOError, TimeoutError):
            return sent


@pytest.fixture
def tight(make_link: MakeLink) -> Link:
    """A connection that holds little."""
    ktls.sysctl["kern.ipc.tls.sendspace"] = 65536
    ktls.sysctl["kern.ipc.tls.sendlowat"] = 32768
    return make_link(small=True)


# -- timeouts --------------------------------------------------------------------------------------


def test_a_blocking_send_waits_and_accepts_all(tight: Link) -> None:
    drain = Drain(tight, 0.1)
    data = random.randbytes(1_000_000)
    assert tight.sock.send(data) == len(data)
    assert drain.finish() == data


def test_send_times_out_when_nothing_is_accepted(tight: Link) -> None:
    tight.sock.settimeout(0.1)
    sent = fill(tight.sock)
    assert sent >= 65536 - 10_000
    with pytest.raises(TimeoutError, match=r"^The send operation timed out$") as caught:
        tight.sock.send(b"x" * 10_000)
    assert type(caught.value) is TimeoutError
    assert len(Drain(tight).finish()) == sent


def test_send_with_a_timeout_accepts_a_part(tight: Link) -> None:
    tight.sock.settimeout(0.1)
    data = random.randbytes(1_000_000)
    sent = tight.sock.send(data)
    assert 0 < sent < len(data)
    assert Drain(tight).finish() == data[:sent]


def test_sendall_times_out(tight: Link) -> None:
    tight.sock.settimeout(0.1)
    data = random.randbytes(1_000_000)
    with pytest.raises(TimeoutError):
        tight.sock.sendall(data)
    received = Drain(tight).finish()
    assert 0 < len(received) < len(data)
    assert data.startswith(received)


def test_a_wait_ends_when_there_is_room(tight: Link) -> None:
    tight.sock.settimeout(30)
    data = random.randbytes(500_000)
    drain = Drain(tight, 0.2)
    tight.sock.sendall(data)
    assert drain.finish() == data


@pytest.mark.parametrize("value", [-1, -0.5])
def test_negative_timeouts_are_refused(tight: Link, value: float) -> None:
    with pytest.raises(ValueError, match="out of range"):
        tight.sock.settimeout(value)
    assert tight.sock.gettimeout() is None


@pytest.mark.rule("PEP 475")
def test_a_signal_handler_may_end_a_wait(tight: Link) -> None:
    class Enough(Exception):
        pass

    def handler(signum: int, frame: object) -> None:
        raise Enough

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Enough):
            tight.sock.sendall(bytes(10_000_000))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.mark.rule("PEP 475")
def test_signal_handler_that_returns_ends_no_wait(tight: Link) -> None:
    calls: list[int] = []
    previous = signal.signal(signal.SIGALRM, lambda signum, frame: calls.append(signum))
    drain = Drain(tight, 0.5)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
        tight.sock.sendall(bytes(500_000))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert calls
    assert drain.finish() == bytes(500_000)


# -- non-blocking ----------------------------------------------------------------------------------


def test_nonblocking_send_is_refused_when_full(tight: Link) -> None:
    tight.sock.setblocking(False)
    sent = fill(tight.sock)
    assert sent >= 65536 - 10_000
    with pytest.raises(BlockingIOError) as caught:
        tight.sock.send(bytes(60_000))
    assert caught.value.errno == errno.EAGAIN
    assert len(Drain(tight).finish()) == sent


def test_nonblocking_send_accepts_what_fits(tight: Link) -> None:
    tight.sock.setblocking(False)
    data = random.randbytes(1_000_000)
    sent = tight.sock.send(data)
    assert 0 < sent < len(data)
    assert Drain(tight).finish() == data[:sent]


def test_nonblocking_receive_is_refused_when_empty(tight: Link) -> None:
    tight.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        tight.sock.recv(1)


# -- flush, shutdown, close ------------------------------------------------------------------------


def test_flush_waits_for_tcp(tight: Link) -> None:
    tight.sock.setblocking(False)
    sent = fill(tight.sock)
    with pytest.raises(TimeoutError):
        tight.sock.flush(0.1)
    drain = Drain(tight)
    tight.sock.flush(20)
    tight.sock.flush()
    assert len(drain.finish()) == sent


def test_flush_of_nothing_returns(tight: Link) -> None:
    tight.sock.flush()
    tight.sock.flush(0)


def test_close_drains_what_was_accepted(tight: Link) -> None:
    tight.sock.setblocking(False)
    sent = fill(tight.sock)
    tight.sock.close()
    assert len(read_data(tight.peer, tight.reader)) == sent


def test_close_drains_a_file_that_is_gone(make_link: MakeLink, tmp_path: object) -> None:
    import pathlib

    path = pathlib.Path(str(tmp_path)) / "file"
    content = random.randbytes(3_000_000)
    path.write_bytes(content)
    ktls.sysctl["kern.ipc.tls.sendspace"] = 4 << 20
    link = make_link(small=True)
    link.sock.setblocking(False)
    with path.open("rb") as file:
        assert link.sock.sendfile(file) == len(content)
    path.unlink()
    link.sock.close()
    assert read_data(link.peer, link.reader) == content


@pytest.mark.rule("shutdown(2) SHUT_WR")
def test_shutdown_follows_what_was_accepted(tight: Link) -> None:
    tight.sock.setblocking(False)
    sent = fill(tight.sock)
    tight.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        tight.sock.send(b"x")
    assert len(read_data(tight.peer, tight.reader)) == sent
    tight.sock.setblocking(True)
    tight.peer.sendall(b"the other way is open")
    assert read_exactly_from(tight.sock, 21) == b"the other way is open"


def read_exactly_from(sock: ktls.Socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += sock.recv(size - len(data))
    return data


def test_shutdown_of_both_directions(tight: Link) -> None:
    tight.sock.send(b"last")
    tight.sock.shutdown(socket.SHUT_RDWR)
    assert read_data(tight.peer, tight.reader) == b"last"
    assert tight.sock.recv(1) == b""
    for call in (
        lambda: tight.sock.send(b"x"),
        lambda: tight.sock.sendall(b"x"),
        lambda: tight.sock.sendmsg([b"x"]),
        lambda: tight.sock.sendmsg([b"x"], [(6, 1, b"\x15")]),
    ):
        with pytest.raises(BrokenPipeError):
            call()


def test_shutdown_of_reading(tight: Link) -> None:
    tight.sock.shutdown(socket.SHUT_RD)
    assert tight.sock.recv(1) == b""
    tight.sock.send(b"still sending")
    assert Drain(tight).finish() == b"still sending"


@pytest.mark.parametrize("how", [-1, 3])
def test_shutdown_of_something_else_is_refused(tight: Link, how: int) -> None:
    with pytest.raises(OSError, match=f"how is {how}") as caught:
        tight.sock.shutdown(how)
    assert caught.value.errno == errno.EINVAL


# -- errors found later ----------------------------------------------------------------------------


def test_an_error_is_raised_once_then_epipe(tight: Link) -> None:
    tight.sock.setblocking(False)
    fill(tight.sock)
    reset(tight.peer)
    tight.sock.setblocking(True)
    with pytest.raises(OSError, match=r"(?i)reset|pipe") as caught:
        tight.sock.flush(20)
    assert caught.value.errno in (errno.ECONNRESET, errno.EPIPE)
    for _ in range(3):
        with pytest.raises(BrokenPipeError):
            tight.sock.send(b"x")


def test_a_reset_ends_a_blocked_send(tight: Link) -> None:
    threading.Timer(0.2, reset, (tight.peer,)).start()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        tight.sock.sendall(bytes(50_000_000))


def test_close_after_an_error_is_quiet(tight: Link) -> None:
    tight.sock.setblocking(False)
    fill(tight.sock)
    reset(tight.peer)
    tight.sock.close()
    assert tight.sock.fileno() == -1


# -- both ways at once -----------------------------------------------------------------------------


def test_reading_while_another_thread_is_blocked_in_send(tight: Link) -> None:
    data = random.randbytes(2_000_000)
    sender = threading.Thread(target=tight.sock.sendall, args=(data,), daemon=True)
    sender.start()
    for number in range(100):
        message = number.to_bytes(4, "big")
        tight.peer.sendall(message)
        assert read_exactly_from(tight.sock, 4) == message
    drain = Drain(tight)
    sender.join(30)
    assert drain.finish() == data


def test_a_worker_goes_on_while_nobody_calls(tight: Link) -> None:
    """What a non-blocking caller left behind is sent without any further call."""
    tight.sock.setblocking(False)
    sent = fill(tight.sock)
    overhead = 22 * (-(-sent // 10_000))
    wire = read_exactly(tight.peer, sent + overhead)
    assert len(wire) == sent + overhead


def test_typed_records_keep_their_place_behind_a_backlog(tight: Link) -> None:
    tight.sock.setblocking(False)
    sent = fill(tight.sock, 1000)
    drain_some = threading.Thread(target=lambda: None)
    drain_some.start()
    drain_some.join()
    tight.sock.setblocking(True)
    typed = threading.Thread(
        target=tight.sock.sendmsg, args=([b"\x01\x00"], [(6, 1, b"\x15")]), daemon=True
    )
    typed.start()
    records: list[tuple[int, bytes]] = []
    reader = threading.Thread(
        target=lambda: records.extend(read_records(tight.peer, tight.reader)), daemon=True
    )
    reader.start()
    typed.join(20)
    tight.sock.send(b"after")
    tight.sock.close()
    reader.join(20)
    assert records[-2:] == [(21, b"\x01\x00"), (23, b"after")]
    assert sum(len(data) for _, data in records[:-2]) == sent
