"""Linux's cases of records that are no data, and of records that are empty."""

import errno
import socket

import pytest

from conformance.linux import RECEIVING_VARIANTS, every_receiving_variant, two_receiving_variants
from keyed_receiver import (
    GET_RECORD_SPACE,
    ReceivingLink,
    fails,
    receive,
    receive_record,
    record_of,
)

PEEK = socket.MSG_PEEK
CONTROL = 100
"""The type that Linux's tests take: none that is assigned."""
DATA = 23


def read_fails(link: ReceivingLink, flags: int = 0) -> None:
    """There is no way to say what the record is: EIO, and it stays."""
    sock = link.sock
    fails(sock, errno.EIO, lambda: sock.recv(100, flags))
    fails(sock, errno.EIO, lambda: sock.recv_into(bytearray(100), 0, flags))
    fails(sock, errno.EIO, lambda: sock.recvmsg(100, 0, flags))


@pytest.mark.rule("ktls(4) TLS_GET_RECORD")
@every_receiving_variant
def test_control_msg(receiving_link: ReceivingLink) -> None:
    receiving_link.send(b"test_read", CONTROL)
    read_fails(receiving_link)
    read_fails(receiving_link, PEEK)
    got = receive(receiving_link.sock, flags=PEEK | socket.MSG_WAITALL)
    assert (got.content_type, got.data) == (CONTROL, b"test_read")
    assert receive_record(receiving_link) == (CONTROL, b"test_read")


@pytest.mark.rule("RFC 8446 5.1")
@every_receiving_variant
def test_control_msg_nomerge(receiving_link: ReceivingLink) -> None:
    """Two of one type stay two, also where there is room for both."""
    receiving_link.send_records((CONTROL, b"test_rec1"), (CONTROL, b"test_rec2"))
    for _ in range(2):
        got = receive(receiving_link.sock, flags=PEEK)
        assert (got.content_type, got.data) == (CONTROL, b"test_rec1")
    assert receive_record(receiving_link) == (CONTROL, b"test_rec1")
    assert receive_record(receiving_link) == (CONTROL, b"test_rec2")


@every_receiving_variant
def test_data_control_data(receiving_link: ReceivingLink) -> None:
    """Reading and peeking stop where the type changes."""
    sock = receiving_link.sock
    receiving_link.send_records((DATA, b"test_rec1"), (CONTROL, b"test_rec2"), (DATA, b"test_rec3"))
    assert sock.recv(100, PEEK | socket.MSG_WAITALL) == b"test_rec1"
    assert sock.recv(100, socket.MSG_WAITALL) == b"test_rec1"
    read_fails(receiving_link)
    got = receive(sock, flags=PEEK)
    assert (got.content_type, got.data) == (CONTROL, b"test_rec2")
    assert receive_record(receiving_link) == (CONTROL, b"test_rec2")
    assert sock.recv(100, PEEK) == b"test_rec3"
    assert sock.recv(100) == b"test_rec3"


@every_receiving_variant
def test_a_message_in_parts(receiving_link: ReceivingLink) -> None:
    """The control message comes with the first, MSG_EOR with the last (as in FreeBSD)."""
    receiving_link.send_records((CONTROL, b"0123456789"), (CONTROL, b"next"))
    got = [receive(receiving_link.sock, 4) for _ in range(3)]
    assert [part.data for part in got] == [b"0123", b"4567", b"89"]
    assert got[0].record is not None
    assert got[0].record[3] == 10
    assert [part.record for part in got[1:]] == [None, None]
    assert [part.ends_record for part in got] == [False, False, True]
    assert receive_record(receiving_link) == (CONTROL, b"next")


@two_receiving_variants
def test_no_room_for_the_control_message(receiving_link: ReceivingLink) -> None:
    """Of data it is left out; where there is too little room that is said."""
    receiving_link.send_records((DATA, b"one"), (DATA, b"two"), (DATA, b"three"))
    data, controls, flags, _ = receiving_link.sock.recvmsg(100)
    assert (data, controls, flags) == (b"one", [], socket.MSG_EOR)
    data, controls, flags, _ = receiving_link.sock.recvmsg(100, 1)
    assert (data, controls, flags) == (b"two", [], socket.MSG_EOR | socket.MSG_CTRUNC)
    assert receive_record(receiving_link) == (DATA, b"three")


@pytest.mark.parametrize("padding_len", [0, 1, 300])
def test_nopad_retry_iov(make_receiving_link, padding_len: int) -> None:
    """The padding of a control record reaches no buffer."""
    link = make_receiving_link(RECEIVING_VARIANTS["13_aes_gcm"])
    link.send(b"test", CONTROL, padding_len=padding_len)
    buffers = [bytearray(b"xx"), bytearray(b"yyyyyyyy"), bytearray(b"z" * 400)]
    count, controls, flags, _ = link.sock.recvmsg_into(buffers, GET_RECORD_SPACE)
    assert (count, record_of(controls), flags) == (4, (CONTROL, 3, 3, 4), socket.MSG_EOR)
    assert buffers == [b"te", b"styyyyyy", b"z" * 400]


# -- empty records ---------------------------------------------------------------------------------

Record = tuple[int, bytes]
FULL = b"test_record"
SEQUENCES: dict[str, list[Record]] = {
    "data_data_data": [(DATA, FULL), (DATA, FULL), (DATA, FULL)],
    "data_0ctrl_data": [(DATA, FULL), (CONTROL, b""), (DATA, FULL)],
    "0data_0data_0data": [(DATA, b""), (DATA, b""), (DATA, b"")],
    "0data_0data_ctrl": [(DATA, b""), (DATA, b""), (CONTROL, FULL)],
    "0data_0data_0ctrl": [(DATA, b""), (DATA, b""), (CONTROL, b"")],
    "0ctrl_0ctrl_0ctrl": [(CONTROL, b""), (CONTROL, b""), (CONTROL, b"")],
    "0data_0data_data": [(DATA, b""), (DATA, b""), (DATA, FULL)],
    "data_0data_0data": [(DATA, FULL), (DATA, b""), (DATA, b"")],
}
every_sequence = pytest.mark.parametrize("records", SEQUENCES.values(), ids=SEQUENCES)


@pytest.mark.rule("RFC 5246 6.2.1", "RFC 8446 5.1")
@every_sequence
@every_receiving_variant
def test_zero_len(receiving_link: ReceivingLink, records: list[Record]) -> None:
    """``recvmsg`` says every record, empty or not."""
    receiving_link.send_records(*records)
    for record in records:
        assert receive_record(receiving_link) == record
    with pytest.raises(BlockingIOError):
        receiving_link.sock.recvmsg(100, GET_RECORD_SPACE, socket.MSG_DONTWAIT)


@every_sequence
@every_receiving_variant
def test_zero_len_peek(receiving_link: ReceivingLink, records: list[Record]) -> None:
    receiving_link.send_records(*records)
    for record in records:
        got = receive(receiving_link.sock, flags=PEEK)
        assert (got.content_type, got.data) == record
        assert receive_record(receiving_link) == record


@every_sequence
@every_receiving_variant
def test_zero_len_recv(receiving_link: ReceivingLink, records: list[Record]) -> None:
    """``recv`` passes over empty data, which is not the end, and stops at everything else."""
    sock = receiving_link.sock
    receiving_link.send_records(*records)
    data = b""
    for content_type, payload in records:
        if content_type == DATA:
            data += payload
            continue
        if data:
            assert sock.recv(100, socket.MSG_WAITALL) == data
            data = b""
        fails(sock, errno.EIO, lambda: sock.recv(100))
        assert receive_record(receiving_link) == (content_type, payload)
    if data:
        assert sock.recv(len(data), socket.MSG_WAITALL) == data
    with pytest.raises(BlockingIOError):
        sock.recv(100, socket.MSG_DONTWAIT)
    receiving_link.send(b"the end comes later")
    assert sock.recv(100) == b"the end comes later"
    receiving_link.peer.shutdown(socket.SHUT_WR)
    assert sock.recv(100) == b""
