"""A connection that times out is not a call that does: TCP_USER_TIMEOUT, and a call's own time.

Both are a TimeoutError.  That of the connection has errno ETIMEDOUT, is raised once, and every call
after it is refused; after a call's own the connection goes on.
"""

import errno
import io
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.ends import Call, Ends, connect, with_all_kinds, with_kinds
from support.forks import outcome

LENGTH = 20_000_000
SHORT_MS = 500


def give_up_soon(ends: Ends) -> None:
    """TCP ends the connection when the peer has taken nothing for a moment."""
    ends.own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SHORT_MS)


def assert_timed_out(error: OSError) -> None:
    assert isinstance(error, TimeoutError)
    assert error.errno == errno.ETIMEDOUT


def assert_over(ends: Ends) -> None:
    """The error was raised; what follows is refused."""
    for call in (ends.own.send, ends.own.sendall):
        assert outcome(lambda: call(b"x")) == "EPIPE"  # noqa: B023


@pytest.mark.rule("tcp(7) TCP_USER_TIMEOUT")
@with_kinds
@pytest.mark.parametrize("timeout", [None, 20.0])
def test_sendall_raises_the_time_out_of_the_connection(kind: str, timeout: float | None) -> None:
    with connect(kind, small=True) as ends:
        give_up_soon(ends)
        ends.own.settimeout(timeout)
        with pytest.raises(TimeoutError) as caught:
            Call(ends.own.sendall, bytes(LENGTH)).result()
        assert_timed_out(caught.value)
        assert_over(ends)


def by_send(ends: Ends, _: Path) -> Any:
    while True:
        ends.own.send(bytes(100_000))


def by_sendmsg(ends: Ends, _: Path) -> Any:
    while True:
        ends.own.sendmsg([bytes(50_000), bytes(50_000)])


def by_flush(ends: Ends, _: Path) -> Any:
    ends.own.aio_write(bytes(1_000_000))
    ends.own.flush()


def by_future(ends: Ends, _: Path) -> Any:
    error = ends.own.aio_write(bytes(1_000_000)).exception(20)
    # It was told; a call is told, too.
    assert outcome(lambda: ends.own.send(b"x")) in ("ETIMEDOUT", "EPIPE")
    assert error is not None
    raise error


@with_kinds
@pytest.mark.parametrize("call", [by_send, by_sendmsg, by_flush, by_future])
def test_other_calls_raise_the_time_out_of_the_connection(
    kind: str, call: Callable[[Ends, Path], Any], tmp_path: Path
) -> None:
    with connect(kind, small=True) as ends:
        give_up_soon(ends)
        with pytest.raises(TimeoutError) as caught:
            Call(call, ends, tmp_path).result()
        assert_timed_out(caught.value)
        assert_over(ends)


@with_kinds
@pytest.mark.parametrize("timeout", [None, 20.0])
def test_sendfile_raises_the_time_out_of_the_connection_and_counts(
    kind: str, timeout: float | None, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(8 << 20))
    with connect(kind, small=True) as ends, path.open("rb") as file:
        give_up_soon(ends)
        ends.own.settimeout(timeout)
        first = outcome(Call(ends.own.sendfile, file).result)
        position = file.tell()
        assert position < 1_000_000
        if first != "ETIMEDOUT":
            # A part was accepted, and the call says how much; the next one says why no more.
            assert first == f"returned {position}"
            assert outcome(lambda: ends.own.send(b"x")) == "ETIMEDOUT"
        assert_over(ends)


@with_kinds
def test_a_call_that_does_not_wait_is_told(kind: str) -> None:
    """Found by nobody's wait: the next call raises it, once."""
    with connect(kind, small=True) as ends:
        give_up_soon(ends)
        ends.fill()
        future = ends.own.aio_write(b"last")
        assert isinstance(future.exception(20), TimeoutError)
        ends.own.setblocking(False)
        assert outcome(lambda: ends.own.send(b"x")) in ("ETIMEDOUT", "EPIPE")
        assert_over(ends)


@with_all_kinds
@pytest.mark.parametrize("call", ["sendall", "sendfile", "recv"])
def test_a_calls_own_time_out(kind: str, call: str, tmp_path: Path) -> None:
    """It has no errno of the connection, and the connection goes on."""
    path = tmp_path / "file"
    path.write_bytes(b"f" * 8_000_000)
    with connect(kind, small=True) as ends, path.open("rb") as file:
        ends.own.settimeout(0.2)
        result = outcome(
            {
                "sendall": lambda: ends.own.sendall(b"f" * 8_000_000),
                "sendfile": lambda: ends.own.sendfile(file),
                "recv": lambda: ends.own.recv(10),
            }[call]
        )
        if kind != "STOCK" and call == "sendfile":
            # A part was accepted, and that is what it says.
            assert result in (f"returned {file.tell()}", "TimeoutError without an errno")
        else:
            assert result == "TimeoutError without an errno"
        if kind == "STOCK" and call != "recv":
            # OpenSSL would insist on the same write again.
            return
        reading = Call(ends.receive_all)
        ends.own.settimeout(20)
        ends.own.sendall(b"and on")
        ends.own.close()
        received = reading.result()
        assert received.endswith(b"and on")
        assert set(received[:-6]) <= {ord("f")}
        if call == "sendfile":
            assert len(received) - 6 == file.tell()


@with_kinds
@pytest.mark.parametrize("name", ["sendall", "sendfile"])
def test_the_words_say_what_was_accepted(kind: str, name: str) -> None:
    data = bytes(8_000_000)
    with connect(kind, small=True) as ends:
        ends.own.settimeout(0.2)
        with pytest.raises(TimeoutError) as caught:
            getattr(ends.own, name)(data if name == "sendall" else io.BytesIO(data))
        words = rf"The {name} operation timed out; (\d+) bytes were accepted, and are not to be .*"
        told = re.fullmatch(words, str(caught.value))
        assert told, caught.value
        reading = Call(ends.receive_all)
        ends.own.close()
        assert len(reading.result()) == int(told[1]) > 0


@with_kinds
def test_the_words_name_the_call(kind: str) -> None:
    with connect(kind, small=True) as ends:
        ends.own.settimeout(0.1)
        with pytest.raises(TimeoutError, match=r"^The (recv|read) operation timed out$"):
            ends.own.recv(10)
        ends.own.aio_write(bytes(500_000))
        with pytest.raises(TimeoutError, match=r"^The flush operation timed out$"):
            ends.own.flush(0.1)
        ends.own.abort()


@with_kinds
@pytest.mark.parametrize("value", ["a", b"1"])
def test_a_time_that_is_no_number(kind: str, value: object) -> None:
    with connect(kind) as ends:
        for call in (ends.own.flush, ends.own.settimeout):
            with pytest.raises(TypeError, match=f"timeout {value!r} is no number; it is seconds"):
                call(value)


@with_kinds
def test_time_out_of_flush_itself(kind: str) -> None:
    with connect(kind, small=True) as ends:
        future = ends.own.aio_write(bytes(500_000))
        assert outcome(lambda: ends.own.flush(0.1)) == "TimeoutError without an errno"
        assert not future.done()
        assert ends.receive_exactly(500_000) == bytes(500_000)
        assert future.result(20) == 500_000
