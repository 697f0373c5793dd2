"""Where OpenSSL writes, what it wrote is the engine's at once: it arrives, and once."""

import errno
import time

import pytest

from support.ends import Call, connect, with_all_kinds, with_tls_kinds
from support.programs import run_program


@with_tls_kinds
@pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])
def test_what_was_accepted_arrives_without_another_call(kind: str, server_side: bool) -> None:
    with connect(kind, small=True, server_side=server_side) as ends:
        for _ in range(3):
            accepted = ends.fill()
            assert accepted > 0
            assert ends.receive_exactly(accepted) == b"f" * accepted


@with_tls_kinds
def test_close_leaves_nothing_behind(kind: str) -> None:
    with connect(kind, small=True) as ends:
        accepted = ends.fill()
        ends.own.close()
        assert ends.receive_all() == b"f" * accepted


@with_tls_kinds
def test_flush_leaves_nothing_behind(kind: str) -> None:
    """When it has returned, an end of the connection costs nothing that was accepted."""
    with connect(kind, small=True) as ends:
        accepted = ends.fill()
        reading = Call(ends.receive_exactly, accepted)
        ends.own.flush(20)
        ends.own.close()
        assert reading.result() == b"f" * accepted
        assert ends.receive_all() == b""


@with_tls_kinds
def test_flush_of_what_was_refused_in_part_waits(kind: str) -> None:
    with connect(kind, small=True) as ends:
        accepted = ends.fill()
        with pytest.raises(TimeoutError):
            ends.own.flush(0.1)
        assert ends.receive_exactly(accepted) == b"f" * accepted
        ends.own.flush(20)


@with_tls_kinds
def test_the_end_of_writing_leaves_nothing_behind(kind: str) -> None:
    with connect(kind, small=True) as ends:
        accepted = ends.fill()
        shutting = Call(ends.own.unwrap)
        assert ends.receive_exactly(accepted) == b"f" * accepted
        assert ends.receive_all() == b""
        ends.peer.unwrap().close()
        shutting.result().close()


@with_tls_kinds
def test_an_alert_or_a_read_does_not_overtake(kind: str) -> None:
    """A recv that OpenSSL serves may write, too; the records keep their order."""
    with connect(kind, small=True) as ends:
        accepted = ends.fill()
        ends.say(b"word")
        assert Call(ends.own.recv, 4).result() == b"word"
        assert ends.receive_exactly(accepted) == b"f" * accepted
        ends.own.sendall(b"after")
        assert ends.receive_exactly(5) == b"after"


@with_all_kinds
def test_the_time_of_a_sendall_is_counted_once(kind: str) -> None:
    """Twice it would be eight seconds; a busy machine has three for itself."""
    with connect(kind, small=True) as ends:
        ends.own.settimeout(4)
        began = time.monotonic()
        with pytest.raises(TimeoutError) as caught:
            ends.own.sendall(bytes(50_000_000))
        assert time.monotonic() - began < 7
        assert caught.value.errno != errno.ETIMEDOUT


@with_tls_kinds
def test_a_time_out_leaves_a_stream_that_goes_on(kind: str) -> None:
    """What a call that timed out had accepted arrives once, then what comes after it."""
    lines = b"".join(b"%07d\n" % number for number in range(100_000))
    with connect(kind, small=True) as ends:
        ends.own.settimeout(0.2)
        with pytest.raises(TimeoutError):
            ends.own.sendall(lines)
        reading = Call(ends.receive_all)
        ends.own.settimeout(20)
        ends.own.sendall(b"next")
        ends.own.close()
        received = reading.result()
        assert received.endswith(b"next")
        assert lines.startswith(received[:-4])


@pytest.mark.parametrize("kind", ["SW", "NONE", "KEYED"])
@pytest.mark.parametrize("call", ["sendall", "send", "sendfile", "sendmsg"])
def test_an_interrupted_call_sends_nothing_twice(kind: str, call: str) -> None:
    """A signal handler raises while the call waits; the program goes on with the connection."""
    said = run_program("raising_handler", kind, call).require_success()
    assert said == "a part of the first once, then all of the second\n"
