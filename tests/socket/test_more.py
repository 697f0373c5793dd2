"""MSG_MORE: the open record, what joins it, and where it is full.

What closes it is in ``test_more_closing``; what happens when there is no room, and between threads,
in ``test_more_waiting``.
"""

import os
import socket
from collections.abc import Callable

import pytest

import ktls
from keyed_link import ALERT, Link, nothing_has_arrived, parameters, records_of
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

MakeLink = Callable[..., Link]
MORE = socket.MSG_MORE
CHAINED = CBC_SUITES[0]
MAX_LEN = 16384
FULL = bytes(range(256)) * 64


# -- what joins ------------------------------------------------------------------------------------


@pytest.mark.rule("send(2) MSG_MORE")
@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
def test_msg_more_joins_writes_of_every_call(make_link: MakeLink, suite: Suite) -> None:
    """Whichever call they come by; the first one without MSG_MORE is the last one in."""
    link = make_link(suite)
    for _ in range(2):
        assert link.sock.send(b"send ", MORE) == 5
        assert link.sock.send(bytearray(b"copied "), MORE) == 7
        link.sock.sendall(b"sendall ", MORE)
        assert link.sock.sendmsg([b"send", b"msg "], [], MORE) == 8
        nothing_has_arrived(link.peer)
        assert link.sock.sendmsg([b"the", b" end"]) == 7
        expected = b"send copied sendall sendmsg the end"
        assert read_record(link.peer, link.reader) == (23, expected)
    link.sock.send(b"alone")
    assert records_of(link) == [(23, b"alone")]


@pytest.mark.parametrize("last", ["send", "sendall", "sendmsg", "bytearray", "memoryview"])
def test_write_without_msg_more_closes_the_record(link: Link, last: str) -> None:
    link.sock.send(b"open ", MORE)
    match last:
        case "send":
            link.sock.send(b"closed")
        case "sendall":
            link.sock.sendall(b"closed")
        case "sendmsg":
            link.sock.sendmsg([b"clo", b"sed"])
        case "bytearray":
            link.sock.sendall(bytearray(b"closed"))
        case "memoryview":
            link.sock.send(memoryview(b"closed"))
    assert read_record(link.peer, link.reader) == (23, b"open closed")


def test_other_flags_go_with_msg_more(link: Link) -> None:
    link.sock.send(b"one ", MORE | socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    link.sock.send(b"two", socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    assert records_of(link) == [(23, b"one two")]


def test_bytes_of_an_open_record_are_pending(link: Link) -> None:
    stream = link.sock._stream
    assert stream.pending == 0
    link.sock.send(bytes(1000), MORE)
    assert stream.pending == 1000
    link.sock.send(bytearray(200), MORE)
    assert stream.pending == 1200
    link.sock.flush(20)
    assert stream.pending == 0


def test_open_record_has_copied_its_buffers(link: Link) -> None:
    buffer = bytearray(b"as it was ")
    link.sock.send(buffer, MORE)
    buffer[:] = bytes(len(buffer))
    link.sock.send(b"then")
    assert records_of(link) == [(23, b"as it was then")]


# -- where it is full ------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", [SUITES[0], SUITES[3], CHAINED, CBC_SUITES[2]], ids=str)
@pytest.mark.parametrize(
    "lens",
    [
        [16383],
        [16384],
        [16385],
        [16383, 1],
        [16383, 2],
        [1, 16383],
        [1, 16384],
        [8192, 8192],
        [8192, 8191, 1],
        [8192, 8192, 1],
        [16383, 16384, 16385],
        [100, 2 * 16384],
        [1, 2 * 16384 - 1],
        [5000] * 10,
        [100_000, 100_000],
    ],
    ids=str,
)
@pytest.mark.parametrize("closing", [0, 1], ids=["flush", "write"])
def test_full_open_record_leaves(
    make_link: MakeLink, suite: Suite, lens: list[int], closing: int
) -> None:
    link = make_link(suite)
    data = os.urandom(sum(lens) + closing)
    position = 0
    left = 0
    for length in lens:
        assert link.sock.send(data[position : position + length], MORE) == length
        position += length
        while position - left >= MAX_LEN:
            expected = (23, data[left : left + MAX_LEN])
            assert read_record(link.peer, link.reader) == expected
            left += MAX_LEN
        nothing_has_arrived(link.peer)
    if closing:
        link.sock.send(data[position:])
    else:
        link.sock.flush(20)
    rest = [(23, data[left:])] if left < len(data) else []
    for record in rest:
        assert read_record(link.peer, link.reader) == record
    nothing_has_arrived(link.peer)
    assert records_of(link) == []


def test_a_full_record_has_nothing_open_behind_it(link: Link) -> None:
    """It is not an empty one that the next write would join."""
    link.sock.send(FULL, MORE)
    link.sock.send(b"next")
    link.sock.send(FULL, MORE)
    link.sock.sendmsg([b"\1\0"], ALERT)
    assert records_of(link) == [(23, FULL), (23, b"next"), (23, FULL), (21, b"\1\0")]


@pytest.mark.parametrize("maxlen", [512, 1000])
def test_smaller_open_record_is_full_earlier(make_link: MakeLink, maxlen: int) -> None:
    ktls.sysctl["kern.ipc.tls.maxlen"] = maxlen
    link = make_link()
    link.sock.send(bytes(maxlen - 1), MORE)
    nothing_has_arrived(link.peer)
    link.sock.send(b"xy", MORE)
    assert read_record(link.peer, link.reader) == (23, bytes(maxlen - 1) + b"x")
    nothing_has_arrived(link.peer)
    assert records_of(link) == [(23, b"y")]


# -- before the keys -------------------------------------------------------------------------------


def test_bytes_before_the_keys_leave_in_clear(
    plain: tuple[ktls.Socket, socket.socket],
) -> None:
    sock, far = plain
    sock.send(b"in ", MORE)
    sock.sendall(b"clear", MORE)
    secrets = Secrets(SUITES[3])
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
    assert read_exactly(far, 8) == b"in clear"
    sock.send(b"sealed ", MORE)
    nothing_has_arrived(far)
    sock.send(b"together")
    sock.close()
    assert read_records(far, RecordReader(secrets)) == [(23, b"sealed together")]


@pytest.mark.parametrize("end", ["send", "flush", "close", "shutdown"])
def test_msg_more_without_keys_loses_nothing(
    plain: tuple[ktls.Socket, socket.socket], end: str
) -> None:
    sock, far = plain
    sent = b"wait" + FULL * 3
    sock.send(sent[:4], MORE)
    sock.send(sent[4:], MORE)
    match end:
        case "send":
            sock.send(b"!")
            sent += b"!"
        case "flush":
            sock.flush(20)
        case "close":
            sock.close()
        case "shutdown":
            sock.shutdown(socket.SHUT_WR)
    assert read_exactly(far, len(sent)) == sent
