"""Linux's cases of plain and scattered sends: what one call brings is one write."""

import errno
import os
import socket

import pytest

from conformance.catalogue import with_type
from conformance.linux import Receiver, every_variant
from keyed_link import Link
from record_reader import read_records

MAX_LEN = 16384


@every_variant
def test_send_small(link: Link) -> None:
    """The sending half of recv_small."""
    assert link.sock.send(b"test_read\0") == 10
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"test_read\0")]


@every_variant
def test_send_max(link: Link) -> None:
    """The sending half of recv_max: the longest record."""
    data = os.urandom(MAX_LEN)
    assert link.sock.send(data) == MAX_LEN
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, data)]


@every_variant
def test_sendmsg_single(link: Link) -> None:
    assert link.sock.sendmsg([b"test_sendmsg"]) == 12
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"test_sendmsg")]


@every_variant
def test_sendmsg_fragmented(link: Link) -> None:
    """1 to 64 parts of 13 bytes: each call one record."""
    part = b"test_sendmsg\0"
    for count in range(1, 65):
        assert link.sock.sendmsg([part] * count) == 13 * count
    link.sock.close()
    expected = [(23, part * count) for count in range(1, 65)]
    assert read_records(link.peer, link.reader) == expected


@every_variant
def test_sendmsg_large(link: Link) -> None:
    """128 messages of one full record each."""
    receiver = Receiver(link)
    messages = [os.urandom(MAX_LEN) for _ in range(128)]
    for message in messages:
        assert link.sock.sendmsg([message]) == MAX_LEN
    assert receiver.data() == b"".join(messages)


@every_variant
@pytest.mark.parametrize(
    "count",
    [pytest.param(5, id="sendmsg_multiple"), pytest.param(1024, id="sendmsg_multiple_stress")],
)
def test_sendmsg_multiple(link: Link, count: int) -> None:
    parts = [os.urandom(6) for _ in range(count)]
    assert link.sock.sendmsg(parts) == 6 * count
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"".join(parts))]


@every_variant
def test_single_send_of_two_records(link: Link) -> None:
    """The sending half of single_send_multiple_recv."""
    data = os.urandom(2 * MAX_LEN)
    assert link.sock.send(data) == len(data)
    link.sock.close()
    records = read_records(link.peer, link.reader)
    assert records == [(23, data[:MAX_LEN]), (23, data[MAX_LEN:])]


@every_variant
def test_multiple_sends_are_not_merged(link: Link) -> None:
    """The sending half of multiple_send_single_recv."""
    assert link.sock.send(bytes(2048)) == link.sock.send(bytes(2048)) == 2048
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, bytes(2048))] * 2


@every_variant
def test_single_send_of_15(link: Link) -> None:
    """The sending half of single_send_multiple_recv_non_align."""
    data = os.urandom(15)
    assert link.sock.send(data) == 15
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, data)]


@every_variant
def test_control_msg(link: Link) -> None:
    assert link.sock.sendmsg([b"test_read\0"], with_type(100)) == 10
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(100, b"test_read\0")]


@every_variant
def test_control_msg_nomerge(link: Link) -> None:
    """Neighbours of one type stay apart."""
    for payload in (b"aaa", b"bbb"):
        link.sock.sendmsg([payload], with_type(100))
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(100, b"aaa"), (100, b"bbb")]


@every_variant
def test_data_control_data(link: Link) -> None:
    link.sock.send(b"before")
    link.sock.sendmsg([b"control"], with_type(100))
    link.sock.send(b"after")
    link.sock.close()
    assert read_records(link.peer, link.reader) == [
        (23, b"before"),
        (100, b"control"),
        (23, b"after"),
    ]


@every_variant
def test_msg_eor(link: Link) -> None:
    """Linux ends a record with it; here, as in FreeBSD, a stream socket refuses it."""
    for send in (
        lambda: link.sock.send(b"x", socket.MSG_EOR),
        lambda: link.sock.sendmsg([b"x"], [], socket.MSG_EOR),
    ):
        with pytest.raises(OSError, match="MSG_EOR") as caught:
            send()
        assert caught.value.errno == errno.EINVAL
    link.sock.close()
    assert read_records(link.peer, link.reader) == []
