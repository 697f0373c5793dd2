"""``Socket.cork``: one record for many writes, and its end."""

import errno
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import ktls
from keyed_link import ALERT, Link, nothing_has_arrived, parameters, records_of, reset
from record_reader import (
    ALL_SUITES,
    CBC_SUITES,
    SUITES,
    RecordReader,
    Secrets,
    Suite,
    read_exactly,
    read_record,
    read_records,
)
from traffic_secrets import KEY_UPDATE, TrafficSecret, read_generations

MakeLink = Callable[..., Link]


# -- what it joins ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
def test_writes_in_a_cork_are_one_record(make_link: MakeLink, suite: Suite) -> None:
    link = make_link(suite)
    for _ in range(2):
        with link.sock.cork():
            link.sock.send(b"send ")
            link.sock.sendall(bytearray(b"copied "))
            link.sock.sendmsg([b"send", b"msg "])
            link.sock.send(b"more ", socket.MSG_MORE)
            link.sock.sendall(b"all")
            nothing_has_arrived(link.peer)
        assert read_record(link.peer, link.reader) == (23, b"send copied sendmsg more all")
    link.sock.send(b"as")
    link.sock.send(b"before")
    assert records_of(link) == [(23, b"as"), (23, b"before")]


def test_cork_of_nothing_sends_nothing(link: Link) -> None:
    with link.sock.cork():
        pass
    with link.sock.cork():
        link.sock.send(b"")
    assert records_of(link) == []


def test_full_records_leave_a_cork_at_once(link: Link) -> None:
    data = os.urandom(40_000)
    with link.sock.cork():
        for at in range(0, len(data), 1000):
            link.sock.send(data[at : at + 1000])
        assert read_record(link.peer, link.reader) == (23, data[:16384])
        assert read_record(link.peer, link.reader) == (23, data[16384:32768])
        nothing_has_arrived(link.peer)
    assert read_record(link.peer, link.reader) == (23, data[32768:])


def test_only_the_outermost_cork_ends_it(link: Link) -> None:
    with link.sock.cork():
        link.sock.send(b"one ")
        with link.sock.cork(), link.sock.cork():
            link.sock.send(b"two ")
        nothing_has_arrived(link.peer)
        link.sock.send(b"three")
        nothing_has_arrived(link.peer)
    assert read_record(link.peer, link.reader) == (23, b"one two three")


def test_record_that_was_open_before_a_cork(link: Link) -> None:
    link.sock.send(b"before ", socket.MSG_MORE)
    with link.sock.cork():
        link.sock.send(b"and inside")
        nothing_has_arrived(link.peer)
    assert read_record(link.peer, link.reader) == (23, b"before and inside")


def test_writes_of_other_threads_join_a_cork(link: Link) -> None:
    def write() -> None:
        for _ in range(50):
            link.sock.send(b"piece ")

    with link.sock.cork():
        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        nothing_has_arrived(link.peer)
    assert read_record(link.peer, link.reader) == (23, b"piece " * 200)


def test_corks_of_several_threads(link: Link) -> None:
    """The last one out ends it; nothing is lost, whoever that is."""
    inside, leave = threading.Barrier(5), threading.Barrier(5)

    def write() -> None:
        with link.sock.cork():
            link.sock.send(b"piece ")
            inside.wait(20)
            leave.wait(20)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    inside.wait(20)
    nothing_has_arrived(link.peer)
    leave.wait(20)
    for thread in threads:
        thread.join()
    assert read_record(link.peer, link.reader) == (23, b"piece " * 4)


def test_corks_on_many_connections_at_once(link: Link) -> None:
    def write(mark: int) -> None:
        for _ in range(200):
            with link.sock.cork():
                link.sock.send(bytes([mark]) * 2)
                link.sock.send(bytes([mark]) * 3)

    threads = [threading.Thread(target=write, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Nothing is left open behind the last of them.
    count = 4 * 200 * 5
    data = b""
    while len(data) < count:
        data += read_record(link.peer, link.reader)[1]
    assert sorted(data) == sorted(bytes(range(4)) * 1000)
    assert records_of(link) == []


# -- what ends a record inside ---------------------------------------------------------------------


def test_record_type_inside_a_cork(link: Link) -> None:
    with link.sock.cork():
        link.sock.send(b"one ")
        link.sock.send(b"record")
        link.sock.sendmsg([b"\1\0"], ALERT)
        assert read_record(link.peer, link.reader) == (23, b"one record")
        assert read_record(link.peer, link.reader) == (21, b"\1\0")
        link.sock.send(b"and ")
        link.sock.send(b"another")
        nothing_has_arrived(link.peer)
    assert read_record(link.peer, link.reader) == (23, b"and another")


def test_sendfile_inside_a_cork_closes_the_open_record(link: Link, tmp_path: Path) -> None:
    """The header leaves in a record of its own; what follows the file is all there."""
    path = tmp_path / "file"
    path.write_bytes(b"the file")
    with link.sock.cork():
        link.sock.send(b"the ")
        link.sock.send(b"header")
        with path.open("rb") as file:
            assert link.sock.sendfile(file) == 8
        link.sock.send(b"the trailer")
    records = records_of(link)
    assert records[0] == (23, b"the header")
    assert b"".join(payload for _, payload in records[1:]) == b"the filethe trailer"


def test_flush_inside_a_cork_sends_the_open_record(link: Link) -> None:
    with link.sock.cork():
        link.sock.send(b"flushed")
        link.sock.flush(20)
        assert link.sock.pending == 0
        assert read_record(link.peer, link.reader) == (23, b"flushed")
        link.sock.send(b"corked ")
        link.sock.send(b"again")
        nothing_has_arrived(link.peer)
    assert read_record(link.peer, link.reader) == (23, b"corked again")


def test_change_of_keys_inside_a_cork(make_link: MakeLink) -> None:
    link = make_link(SUITES[3])
    secret = TrafficSecret(SUITES[3])
    with link.sock.cork():
        link.sock.send(b"the old ")
        link.sock.send(b"ones")
        link.sock.rekey(secret.value)
        link.sock.send(b"the new ")
        link.sock.send(b"ones")
    link.sock.close()
    assert read_generations(link.peer, link.reader, secret) == [
        [(23, b"the old ones"), (22, KEY_UPDATE)],
        [(23, b"the new ones")],
    ]


def test_first_keys_inside_a_cork(plain: tuple[ktls.Socket, socket.socket]) -> None:
    sock, far = plain
    secrets = Secrets(SUITES[0])
    with sock.cork():
        sock.send(b"in clear")
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        assert read_exactly(far, 8) == b"in clear"
        sock.send(b"one ")
        sock.send(b"record")
        nothing_has_arrived(far)
    assert read_record(far, RecordReader(secrets)) == (23, b"one record")


def test_cork_without_keys_sends_clear_text(plain: tuple[ktls.Socket, socket.socket]) -> None:
    sock, far = plain
    with sock.cork():
        sock.send(b"in ")
        sock.send(b"clear")
    assert read_exactly(far, 8) == b"in clear"


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("empty", [b"", b"one two"]), ("split", [b"o", b"ne two"]), ("none", [b"one two"])],
)
def test_what_precedes_a_cork_in_tls_10(
    make_link: MakeLink, choice: str, expected: list[bytes]
) -> None:
    ktls.sysctl["kern.ipc.tls.tls10_fragment"] = choice
    link = make_link(CBC_SUITES[0])
    with link.sock.cork():
        link.sock.send(b"one ")
        link.sock.sendall(b"two")
    assert records_of(link) == [(23, payload) for payload in expected]


def test_empty_record_of_tls_10_inside_a_cork(make_link: MakeLink) -> None:
    link = make_link(CBC_SUITES[0])
    with link.sock.cork():
        link.sock.send(b"one")
        link.sock.send(b"")
        link.sock.send(b"two")
    assert records_of(link) == [(23, b"one"), (23, b""), (23, b"two")]


# -- its end ---------------------------------------------------------------------------------------


def test_exception_ends_a_cork_and_passes(link: Link) -> None:
    with pytest.raises(ZeroDivisionError), link.sock.cork():  # noqa: PT012
        link.sock.send(b"accepted ")
        link.sock.send(b"before")
        raise ZeroDivisionError
    assert read_record(link.peer, link.reader) == (23, b"accepted before")
    link.sock.send(b"not")
    link.sock.send(b"corked")
    assert records_of(link) == [(23, b"not"), (23, b"corked")]


def test_close_inside_a_cork_sends_what_was_accepted(link: Link) -> None:
    with link.sock.cork():
        link.sock.send(b"the ")
        link.sock.send(b"last")
        link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"the last")]
    with pytest.raises(OSError, match="closed") as caught:
        link.sock.send(b"x")
    assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("how", [socket.SHUT_WR, socket.SHUT_RDWR])
def test_shutdown_inside_a_cork(link: Link, how: int) -> None:
    with link.sock.cork():
        link.sock.send(b"the ")
        link.sock.send(b"last")
        link.sock.shutdown(how)
    assert read_records(link.peer, link.reader) == [(23, b"the last")]
    with pytest.raises(BrokenPipeError):
        link.sock.send(b"x")


def test_connection_lost_inside_a_cork(make_link: MakeLink) -> None:
    """Leaving is quiet; the calls after it say so."""
    ktls.sysctl["kern.ipc.tls.sendspace"] = 65536
    link = make_link(small=True)
    link.sock.setblocking(False)
    with link.sock.cork():
        with pytest.raises(BlockingIOError):  # noqa: PT012
            while True:
                link.sock.send(bytes(10_000))
        reset(link.peer)
    link.sock.setblocking(True)
    with pytest.raises(OSError, match=r"(?i)reset|pipe") as caught:
        link.sock.flush(20)
    assert caught.value.errno in (errno.ECONNRESET, errno.EPIPE)
    with pytest.raises(BrokenPipeError):
        link.sock.send(b"x")


def test_leaving_a_cork_after_a_loss_that_was_said(link: Link) -> None:
    with link.sock.cork():
        link.sock.send(b"first")
        reset(link.peer)
        with pytest.raises(OSError, match=r"(?i)reset|pipe"):  # noqa: PT012
            while True:
                link.sock.send(bytes(20_000))
                link.sock.flush(20)


def test_cork_on_a_closed_socket(link: Link) -> None:
    """Entering may say so; if it does not, the call inside does."""
    link.sock.close()
    with pytest.raises(OSError, match="closed") as caught, link.sock.cork():
        link.sock.send(b"x")
    assert caught.value.errno == errno.EBADF


def test_leaving_a_cork_does_not_wait(make_link: MakeLink) -> None:
    """The socket is full, and nobody reads before it was left."""
    ktls.sysctl["kern.ipc.tls.sendspace"] = 65536
    ktls.sysctl["kern.ipc.tls.sendspace_max"] = 65536
    link = make_link(small=True)
    link.sock.setblocking(False)
    sent = 0
    with link.sock.cork():
        with pytest.raises(BlockingIOError):  # noqa: PT012
            while True:
                sent += link.sock.send(bytes(10_000))
        link.sock.setblocking(True)
    link.sock.close()
    records = read_records(link.peer, link.reader)
    assert sum(len(payload) for _, payload in records) == sent


@pytest.mark.parametrize("suite", [SUITES[3], CBC_SUITES[0]], ids=str)
def test_writer_inside_a_cork_waits_for_room(make_link: MakeLink, suite: Suite) -> None:
    ktls.sysctl["kern.ipc.tls.sendspace"] = 10_000
    ktls.sysctl["kern.ipc.tls.sendspace_max"] = 10_000
    link = make_link(suite, small=True)
    link.sock.settimeout(20)
    data = os.urandom(200_000)
    received: list[tuple[int, bytes]] = []
    reading = threading.Thread(
        target=lambda: received.extend(read_records(link.peer, link.reader)), daemon=True
    )
    reading.start()
    with link.sock.cork():
        for at in range(0, len(data), 700):
            link.sock.sendall(data[at : at + 700])
    link.sock.close()
    reading.join(30)
    assert b"".join(payload for _, payload in received) == data


def test_forked_child_that_leaves_a_cork(link: Link) -> None:
    """It cannot close the record of its parent, and says nothing."""
    cork = link.sock.cork()
    cork.__enter__()
    link.sock.send(b"the parent's ")
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(20)
            cork.__exit__(None, None, None)
            link.sock.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    nothing_has_arrived(link.peer)
    link.sock.send(b"record")
    nothing_has_arrived(link.peer)
    cork.__exit__(None, None, None)
    assert records_of(link) == [(23, b"the parent's record")]
