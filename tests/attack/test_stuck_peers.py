"""Nobody waits for ever for a peer that does not read: abort, SO_LINGER, shutdown, the drain."""

import errno
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

import ktls
from full_link import until
from support import descriptors
from support.ends import Call, Ends, connect, with_all_kinds, with_kinds, with_tls_kinds
from support.forks import outcome

ACTIVE = "kern.ipc.tls.stats.active"
RESETS = "kern.ipc.tls.stats.linger_resets"
DEADLINE = "kern.ipc.tls.linger_timeout"
BIG = bytes(20_000_000)


@pytest.fixture(params=["SW", "NONE", "KEYED"])
def stuck(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """A connection that holds little, whose peer does not read."""
    with connect(request.param, small=True) as ends:
        yield ends


def linger(ends: Ends, seconds: int) -> None:
    ends.own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))


def assert_reset(ends: Ends) -> int:
    """What the peer reads ends with a reset; how many bytes, records and all, it got before."""
    received = 0
    with pytest.raises(ConnectionResetError):  # noqa: PT012
        # Past OpenSSL, which takes a reset for an end now and then.
        while part := socket.socket.recv(ends.peer, 65536):
            received += len(part)
    return received


def blocked(ends: Ends) -> Call:
    """A sendall that waits for room."""
    sending = Call(ends.own.sendall, BIG)
    sending.join(0.2)
    assert sending.is_alive()
    return sending


def name_of(call: Call) -> str:
    return outcome(call.result)


# -- abort -----------------------------------------------------------------------------------------


def test_abort_resets_at_once(stuck: Ends) -> None:
    assert stuck.fill() > 0
    stuck.own.abort()
    assert_reset(stuck)


@with_kinds
def test_abort_of_an_idle_connection(kind: str) -> None:
    with connect(kind) as ends:
        ends.own.sendall(b"word")
        assert ends.receive_exactly(4) == b"word"
        ends.own.abort()
        assert_reset(ends)


def test_abort_drops_everything(stuck: Ends) -> None:
    """What waits here does not leave any more, and holds neither session nor descriptor."""
    before = ktls.sysctl[ACTIVE]
    accepted = stuck.fill()
    stuck.own.abort()
    assert assert_reset(stuck) < accepted
    until(lambda: ktls.sysctl[ACTIVE] < before or stuck.kind == "NONE")


def test_abort_wakes_everybody(stuck: Ends) -> None:
    futures = [stuck.own.aio_write(bytes(100_000)) for _ in range(10)]
    assert not futures[-1].done()
    # While OpenSSL writes, one call is at work and the other waits for it.
    waiting = [blocked(stuck), Call(stuck.own.flush), blocked(stuck)]
    stuck.own.abort()
    assert [name_of(call) for call in waiting] == ["ECONNABORTED"] * 3
    for future in futures[-5:]:
        assert outcome(lambda: future.result(20)) == "ECONNABORTED"  # noqa: B023


@with_kinds
def test_abort_wakes_who_reads(kind: str) -> None:
    with connect(kind) as ends:
        reading = Call(ends.own.recv, 10)
        reading.join(0.1)
        assert reading.is_alive()
        ends.own.abort()
        assert name_of(reading) == "ECONNABORTED"
        assert outcome(lambda: ends.own.recv(10)) == "ECONNABORTED"


def test_calls_after_abort_are_refused(stuck: Ends) -> None:
    stuck.fill()
    stuck.own.abort()
    for _ in range(2):
        assert outcome(lambda: stuck.own.send(b"x")) in ("EPIPE", "EBADF")
        assert outcome(lambda: stuck.own.aio_write(b"x")) in ("EPIPE", "EBADF")
        assert outcome(lambda: stuck.own.flush()) in ("EPIPE", "EBADF", "returned None")
        # A second one changes nothing, nor does a close.
        stuck.own.abort()
    stuck.own.close()
    stuck.own.abort()
    assert outcome(lambda: stuck.own.send(b"x")) == "EBADF"


def test_abort_of_a_closed_connection_that_drains(stuck: Ends) -> None:
    stuck.fill()
    stuck.own.close()
    stuck.own.abort()
    assert_reset(stuck)


def test_aborts_from_many_threads(stuck: Ends) -> None:
    sending = blocked(stuck)
    aborting = [Call(lambda: stuck.own.abort()) for _ in range(8)]
    for call in aborting:
        call.result()
    assert name_of(sending) == "ECONNABORTED"
    assert_reset(stuck)


# -- SO_LINGER -------------------------------------------------------------------------------------


@pytest.mark.rule("socket(7) SO_LINGER")
@with_all_kinds
def test_linger_of_zero_resets(kind: str) -> None:
    with connect(kind, small=True) as ends:
        linger(ends, 0)
        ends.fill()
        ends.own.close()
        assert_reset(ends)


@pytest.mark.rule("socket(7) SO_LINGER")
@with_kinds
def test_linger_waits_for_a_peer_that_reads(kind: str) -> None:
    """When close returns, no more is on its way than the kernel's buffers hold."""
    with connect(kind, small=True) as ends:
        ends.own.settimeout(0)
        linger(ends, 30)
        futures = [ends.own.aio_write(bytes(100_000)) for _ in range(30)]
        reading = threading.Event()
        received = 0

        def read() -> int:
            nonlocal received
            reading.wait(20)
            while part := ends.receive():
                received += len(part)
            return received

        reader = Call(read)
        reading.set()
        ends.own.close()
        at_return = received
        assert reader.result() == 3_000_000
        assert at_return > 2_500_000
        assert [future.result(20) for future in futures] == [100_000] * 30


@pytest.mark.rule("socket(7) SO_LINGER")
def test_linger_that_passes_resets(stuck: Ends) -> None:
    linger(stuck, 1)
    stuck.fill()
    Call(stuck.own.close).result(20)
    assert_reset(stuck)


def test_linger_of_nothing_to_send(stuck: Ends) -> None:
    linger(stuck, 30)
    stuck.own.sendall(b"all of it")
    stuck.own.close()
    assert stuck.receive_all() == b"all of it"


# -- the drain without linger ----------------------------------------------------------------------


def test_a_drain_without_progress_is_reset_and_counted(stuck: Ends) -> None:
    ktls.sysctl[DEADLINE] = 1
    before = ktls.sysctl[RESETS]
    stuck.fill()
    stuck.own.close()
    until(lambda: ktls.sysctl[RESETS] == before + 1)
    assert_reset(stuck)


def test_the_deadline_of_a_drain_is_policy() -> None:
    assert ktls.sysctl[DEADLINE] == 60
    assert isinstance(ktls.sysctl[RESETS], int)


def test_a_drain_that_makes_progress_is_left_alone(stuck: Ends) -> None:
    """It takes longer in all than the deadline."""
    ktls.sysctl[DEADLINE] = 2
    before = ktls.sysctl[RESETS]
    for _ in range(8):
        stuck.own.aio_write(bytes(100_000))
    stuck.own.close()
    received = 0
    pause = threading.Event()
    while part := stuck.receive():
        received += len(part)
        if received % 5 == 0:
            pause.wait(0.1)
    assert received == 800_000
    assert ktls.sysctl[RESETS] == before


def test_a_drain_ends_its_futures_with_the_reset(stuck: Ends) -> None:
    ktls.sysctl[DEADLINE] = 1
    futures = [stuck.own.aio_write(bytes(100_000)) for _ in range(10)]
    stuck.own.close()
    error = futures[-1].exception(20)
    assert isinstance(error, OSError)
    assert error.errno in (errno.ETIMEDOUT, errno.ECONNABORTED, errno.ECONNRESET)


def test_stuck_connections_return_their_descriptors() -> None:
    ktls.sysctl[DEADLINE] = 1
    with connect("SW"), connect("KEYED"):
        before = descriptors.settled()
        every = [connect(kind, small=True) for kind in ("SW", "NONE", "KEYED") for _ in range(20)]
        for ends in every:
            ends.fill()
            ends.own.close()
        until(lambda: descriptors.count() == before + len(every))
        for ends in every:
            ends.close()


# -- shutdown and close beside a call that waits ---------------------------------------------------


@with_all_kinds
def test_shutdown_wakes_a_sendall(kind: str) -> None:
    with connect(kind, small=True) as ends:
        sending = blocked(ends)
        ends.own.shutdown(socket.SHUT_RDWR)
        assert name_of(sending) in ("EPIPE", "SSLEOFError" if kind == "STOCK" else "EPIPE")


@with_kinds
def test_the_end_of_writing_wakes_a_sendall(kind: str) -> None:
    with connect(kind, small=True) as ends:
        sending = blocked(ends)
        shutting = Call(ends.own.shutdown, socket.SHUT_WR)
        assert name_of(sending) == "EPIPE"
        data = ends.receive_all()
        shutting.result()
        assert data == bytes(len(data))


@with_kinds
def test_close_wakes_a_sendall(kind: str) -> None:
    """What it had accepted arrives; the call says that the rest was not."""
    with connect(kind, small=True) as ends:
        sending = blocked(ends)
        ends.own.close()
        assert name_of(sending) == "EBADF"
        data = ends.receive_all()
        assert 0 < len(data) < len(BIG)
        assert data == bytes(len(data))


@with_tls_kinds
def test_shutdown_does_not_wait_for_a_writer(kind: str) -> None:
    """Nor does close, nor abort, whoever holds the right to write."""
    for end in ("close", "abort"):
        with connect(kind, small=True) as ends:
            sending = blocked(ends)
            others = [Call(ends.own.sendall, BIG) for _ in range(3)]
            Call(getattr(ends.own, end)).result(20)
            for call in (sending, *others):
                assert name_of(call) in ("EBADF", "ECONNABORTED", "EPIPE")


@with_kinds
def test_a_write_after_the_end_is_refused_whatever_waits(kind: str) -> None:
    """The short cut of an idle connection, too."""
    with connect(kind) as ends:
        ends.own.sendall(b"x")
        ends.own.flush()
        ends.own.shutdown(socket.SHUT_WR)
        for call in (ends.own.send, ends.own.sendall, ends.own.aio_write):
            # OpenSSL's word for it, where that one writes.
            assert outcome(lambda: call(b"y")) in ("EPIPE", "SSLError", "SSLZeroReturnError")  # noqa: B023
        assert ends.receive_all() == b"x"
