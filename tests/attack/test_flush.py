"""flush: what it waits for, and the times it takes; time-outs that no clock can hold."""

import contextlib
import math
import ssl

import pytest

import ktls
from support.ends import Call, Ends, connect, with_kinds


@with_kinds
@pytest.mark.parametrize("later", ["send", "aio_write"])
def test_flush_waits_for_nothing_that_came_later(kind: str, later: str) -> None:
    """The peer reads the first write and a little more, and flush returns."""
    with connect(kind, small=True, space=1 << 20) as ends:
        ends.own.setblocking(False)
        first = accepted(ends, b"1" * 300_000)
        flushing = Call(ends.own.flush)
        flushing.join(0.2)
        assert flushing.is_alive()
        if later == "send":
            second = accepted(ends, b"2" * 600_000)
        else:
            future, second = ends.own.aio_write(b"2" * 3_000_000), 3_000_000
        assert ends.receive_exactly(first) == b"1" * first
        assert flushing.result() is None
        if later == "aio_write":
            assert not future.done()
        assert ends.receive_exactly(second) == b"2" * second
        ends.own.flush(20)


def accepted(ends: Ends, data: bytes) -> int:
    """How much of `data` there is room for."""
    count = 0
    with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
        while count < len(data):
            count += ends.own.send(data[count:])
    assert count > len(data) // 2
    return count


@with_kinds
def test_many_flushes_end_in_their_order(kind: str) -> None:
    with connect(kind, small=True) as ends:
        flushes = []
        for _ in range(5):
            ends.own.aio_write(bytes(200_000))
            flushes.append(Call(ends.own.flush))
            flushes[-1].join(0.05)
        for flushing in flushes:
            assert flushing.is_alive() or flushing.result() is None
            ends.receive_exactly(200_000)
        # The last one's bytes may still be in the kernel's hands only.
        for flushing in flushes:
            flushing.result()


@with_kinds
@pytest.mark.parametrize("timeout", [1e19, 1e300, math.inf, float(2**63), None])
def test_a_time_too_long_for_a_clock_is_for_ever(kind: str, timeout: float | None) -> None:
    with connect(kind, small=True) as ends:
        ends.own.aio_write(bytes(1_000_000))
        flushing = Call(ends.own.flush, timeout)
        flushing.join(0.1)
        assert flushing.is_alive()
        assert ends.receive_exactly(1_000_000) == bytes(1_000_000)
        assert flushing.result() is None
        assert ends.own.flush(timeout) is None


@with_kinds
@pytest.mark.parametrize("timeout", [1e19, 1e300, math.inf])
def test_a_time_out_too_long_for_a_clock_is_refused(kind: str, timeout: float) -> None:
    """As a socket's; the one of before stays."""
    with connect(kind, small=True) as ends:
        ends.own.settimeout(9e9)
        with pytest.raises(OverflowError, match="too large"):
            ends.own.settimeout(timeout)
        assert ends.own.gettimeout() == 9e9
        sending = Call(ends.own.sendall, bytes(2_000_000))
        assert ends.receive_exactly(2_000_000) == bytes(2_000_000)
        sending.result()
        ends.say(b"answer")
        assert ends.own.recv(6) == b"answer"


@with_kinds
@pytest.mark.parametrize("timeout", [-1, -0.001, math.nan, -math.inf])
def test_a_time_that_is_none_is_refused(kind: str, timeout: float) -> None:
    with connect(kind) as ends:
        ends.own.sendall(b"x")
        for call in (ends.own.flush, ends.own.settimeout):
            with pytest.raises(ValueError, match=r"(?i)time|nan|negative"):
                call(timeout)
        assert ends.receive_exactly(1) == b"x"
        ends.own.sendall(b"y")
        assert ends.receive_exactly(1) == b"y"


@with_kinds
def test_flush_that_ends_in_time_returns(kind: str) -> None:
    with connect(kind, small=True) as ends:
        ends.own.aio_write(bytes(1_000_000))
        for _ in range(2):
            with pytest.raises(TimeoutError):
                ends.own.flush(0.1)
        assert ends.receive_exactly(1_000_000) == bytes(1_000_000)
        ends.own.flush(20)
        assert ktls.sysctl["kern.ipc.tls.stats.aio_pending"] == 0
