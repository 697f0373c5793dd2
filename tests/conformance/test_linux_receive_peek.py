"""Linux's cases of MSG_PEEK: it consumes nothing, and sees what a read would see."""

import os
import socket

import pytest

from conformance.linux import every_receiving_variant
from keyed_receiver import ReceivingLink, receive, receive_record

PEEK = socket.MSG_PEEK
ALL = socket.MSG_WAITALL
FIRST, SECOND = b"test_read_peek", b"_mult_recs"


@pytest.mark.rule("recv(2) MSG_PEEK")
@every_receiving_variant
def test_recv_peek(receiving_link: ReceivingLink) -> None:
    receiving_link.send(FIRST)
    assert receiving_link.sock.recv(100, PEEK) == FIRST
    assert receiving_link.sock.recv(100) == FIRST


@every_receiving_variant
def test_recv_peek_multiple(receiving_link: ReceivingLink) -> None:
    receiving_link.send(FIRST)
    for _ in range(100):
        assert receiving_link.sock.recv(100, PEEK) == FIRST
    assert receiving_link.sock.recv(4, PEEK) == FIRST[:4]
    assert receiving_link.sock.recv(100) == FIRST


@every_receiving_variant
def test_recv_peek_multiple_records(receiving_link: ReceivingLink) -> None:
    receiving_link.send_records((23, FIRST), (23, SECOND))
    sock = receiving_link.sock
    assert sock.recv(len(FIRST), PEEK | ALL) == FIRST
    assert sock.recv(len(FIRST + SECOND), ALL) == FIRST + SECOND


@every_receiving_variant
def test_recv_peek_large_buf_mult_recs(receiving_link: ReceivingLink) -> None:
    receiving_link.send_records((23, FIRST), (23, SECOND))
    sock = receiving_link.sock
    size = len(FIRST + SECOND)
    for _ in range(3):
        assert sock.recv(size, PEEK | ALL) == FIRST + SECOND
    assert sock.recv(3, ALL) == FIRST[:3]
    assert sock.recv(size - 3, PEEK | ALL) == (FIRST + SECOND)[3:]
    assert sock.recv(size - 3, ALL) == (FIRST + SECOND)[3:]


@every_receiving_variant
def test_peek_into_a_part(receiving_link: ReceivingLink) -> None:
    """Between reads inside one large record, into buffers of any size."""
    data = os.urandom(16384)
    receiving_link.send(data)
    buffer = bytearray(20_000)
    sock = receiving_link.sock
    for at, size in ((0, 1), (1, 4000), (4001, 12_000), (16_001, 383)):
        count = sock.recv_into(buffer, 0, PEEK)
        assert buffer[:count] == data[at:]
        assert sock.recv(size, ALL) == data[at : at + size]


@every_receiving_variant
def test_peek_with_the_control_message(receiving_link: ReceivingLink) -> None:
    """A record is peeked at with its type, and comes again with it."""
    receiving_link.send_records((21, b"\x01\x00"), (23, b"data"))
    got = [receive(receiving_link.sock, flags=PEEK) for _ in range(3)]
    assert got[0].record == (21, 3, min(receiving_link.writer.suite.tls_vminor, 3), 2)
    assert got == [got[0]] * 3
    assert receive_record(receiving_link) == (21, b"\x01\x00")
    assert receive(receiving_link.sock, 2, PEEK).data == b"da"
    assert receive_record(receiving_link) == (23, b"data")
