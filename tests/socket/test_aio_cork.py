"""``aio_write`` and open records: what joins, and that nothing waits for the end of a cork."""

import io
import os
import random
import socket
import threading
from collections.abc import Callable

import pytest

import ktls
from full_link import Reading, keep
from keyed_link import ALERT, Link, nothing_has_arrived
from record_reader import CBC_SUITES, SUITES, Suite, read_record, read_records

MakeLink = Callable[..., Link]
MORE = socket.MSG_MORE
CHAINED = CBC_SUITES[0]
every_kind = pytest.mark.parametrize("suite", [SUITES[0], SUITES[3], CHAINED], ids=str)


@every_kind
def test_aio_write_joins_an_open_record(make_link: MakeLink, suite: Suite) -> None:
    """And closes it, as any write without MSG_MORE."""
    link = make_link(suite)
    link.sock.send(b"open, ", MORE)
    assert link.sock.aio_write(b"closed").result(20) == 6
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"open, closed")]


@every_kind
def test_aio_write_inside_a_cork(make_link: MakeLink, suite: Suite) -> None:
    """Somebody waits for its end: it joins what is open, and closes it."""
    link = make_link(suite)
    with link.sock.cork():
        link.sock.send(b"one ")
        nothing_has_arrived(link.peer)
        assert link.sock.aio_write(b"two").result(20) == 3
        assert read_record(link.peer, link.reader) == (23, b"one two")
        link.sock.send(b"three ")
        link.sock.send(b"four")
        nothing_has_arrived(link.peer)
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"three four")]


def test_flush_of_an_aio_write_inside_a_cork(link: Link) -> None:
    with link.sock.cork():
        future = link.sock.aio_write(b"flushed")
        link.sock.flush(20)
        assert future.result(20) == 7
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"flushed")]


def test_hundreds_of_aio_writes_inside_a_cork(make_link: MakeLink) -> None:
    """More than there is room for: those who wait do not wait for the end of the cork."""
    keep(65536)
    link = make_link(small=True)
    data = [os.urandom(1000) for _ in range(400)]
    with link.sock.cork():
        futures = [link.sock.aio_write(piece) for piece in data]
        reading = Reading(link)
        assert futures[200].result(20) == 1000
    assert [future.result(20) for future in futures] == [1000] * 400
    assert reading.data() == b"".join(data)


# -- more inside a cork than there is room for ----------------------------------------------------


@pytest.fixture
def tight(make_link: MakeLink) -> Link:
    """A connection that holds little."""
    keep(65536)
    return make_link(small=True)


@pytest.mark.parametrize("size", [500_001, 655_360])
@pytest.mark.parametrize("how", ["close", "SHUT_WR", "SHUT_RDWR"])
def test_end_of_an_aio_write_inside_a_cork(tight: Link, how: str, size: int) -> None:
    """What is framed later is not held back by a cork that nobody can leave any more."""
    data = os.urandom(size)
    with tight.sock.cork():
        future = tight.sock.aio_write(data)
        assert not future.done()
        if how == "close":
            tight.sock.close()
        else:
            tight.sock.shutdown(getattr(socket, how))
        records = read_records(tight.peer, tight.reader)
    assert b"".join(payload for _, payload in records) == data
    assert future.result(20) == size


@pytest.mark.parametrize("count", [1, 50])
def test_flush_of_much_aio_inside_a_cork(tight: Link, count: int) -> None:
    data = [os.urandom(500_001 // count) for _ in range(count)]
    with tight.sock.cork():
        futures = [tight.sock.aio_write(piece) for piece in data]
        reading = Reading(tight)
        flushing = threading.Thread(target=tight.sock.flush, daemon=True)
        flushing.start()
        flushing.join(20)
        assert not flushing.is_alive()
        assert [future.result(20) for future in futures] == [len(piece) for piece in data]
    assert reading.data() == b"".join(data)


@pytest.mark.parametrize("way", ["send", "message", "long message", "memory"])
def test_who_waits_behind_much_inside_a_cork(tight: Link, way: str) -> None:
    """For room that only the open record takes, perhaps."""
    data = os.urandom(500_001)
    tight.sock.settimeout(20)
    with tight.sock.cork():
        future = tight.sock.aio_write(data)
        reading = Reading(tight)
        last = (23, b"the last")
        match way:
            case "send":
                tight.sock.sendall(last[1])
            case "message":
                last = (21, b"a message")
                tight.sock.sendmsg([last[1]], ALERT)
            case "long message":
                last = (21, bytes(65536))
                tight.sock.sendmsg([last[1]], ALERT)
            case "memory":
                tight.sock.sendfile(io.BytesIO(last[1]))
    assert future.result(20) == len(data)
    records = reading.finished()
    assert b"".join(payload for _, payload in records) == data + last[1]
    assert records[-1][0] == last[0]


def test_last_of_much_aio_inside_a_cork(tight: Link) -> None:
    """It ends when the cork does, though nobody writes or waits."""
    data = os.urandom(500_001)
    with tight.sock.cork():
        future = tight.sock.aio_write(data)
    assert not future.done()
    reading = Reading(tight)
    assert future.result(20) == len(data)
    assert reading.data() == data


# -- what precedes it in TLS 1.0 -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("empty", [b"", b"open, closed", b"", b"alone"]),
        ("split", [b"o", b"pen, closed", b"a", b"lone"]),
        ("none", [b"open, closed", b"alone"]),
    ],
)
def test_what_precedes_an_aio_write_in_a_cork_in_tls_10(
    make_link: MakeLink, choice: str, expected: list[bytes]
) -> None:
    """A record that is open began with bytes that were chosen before its IV was known."""
    ktls.sysctl["kern.ipc.tls.tls10_fragment"] = choice
    link = make_link(CHAINED)
    link.sock.send(b"open, ", MORE)
    assert link.sock.aio_write(b"closed").result(20) == 6
    assert link.sock.aio_write(b"alone").result(20) == 5
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, payload) for payload in expected]


@pytest.mark.parametrize("choice", ["empty", "split"])
def test_hundreds_of_aio_writes_preceded_in_tls_10(make_link: MakeLink, choice: str) -> None:
    ktls.sysctl["kern.ipc.tls.tls10_fragment"] = choice
    keep(65536)
    link = make_link(CHAINED, small=True)
    data = [os.urandom(random.choice([1, 2, 500, 2000])) for _ in range(300)]
    futures = [link.sock.aio_write(piece) for piece in data]
    reading = Reading(link)
    assert [future.result(20) for future in futures] == [len(piece) for piece in data]
    link.sock.send(b"and that")
    records = reading.finished()
    first = {"empty": 0, "split": 1}[choice]
    assert {kind for kind, _ in records} == {23}
    payloads = [payload for _, payload in records]
    # Only where there was no room is a record cut before its end.
    assert b"".join(payloads) == b"".join(data) + b"and that"
    assert [len(payload) for payload in payloads[:20:2]] == [first] * 10 or choice == "split"
    assert sum(len(payload) == first for payload in payloads) >= len(data)
