"""Linux's cases of receiving data: a stream over records, whole, in parts, and scattered."""

import errno
import os
import random
import socket
import threading
import time
from typing import Any

import pytest

import ktls
from conformance.linux import every_receiving_variant, two_receiving_variants
from keyed_receiver import (
    GET_RECORD_SPACE,
    ReceivingLink,
    enable_receiving,
    fails,
    receive,
    record_of,
)
from record_reader import Secrets, Suite
from record_writer import MAX_LEN, pieces

TEXT = b"test_read"


@every_receiving_variant
def test_recv_max(receiving_link: ReceivingLink) -> None:
    data = os.urandom(MAX_LEN)
    receiving_link.send(data)
    assert receiving_link.sock.recv(MAX_LEN) == data


@every_receiving_variant
def test_recv_small(receiving_link: ReceivingLink) -> None:
    receiving_link.send(TEXT)
    assert receiving_link.sock.recv(len(TEXT)) == TEXT
    receiving_link.send(TEXT)
    assert receiving_link.sock.recv(65536) == TEXT


@every_receiving_variant
def test_single_send_multiple_recv(receiving_link: ReceivingLink) -> None:
    """32 KiB, in two halves."""
    data = os.urandom(2 * MAX_LEN)
    receiving_link.peer.sendall(b"".join(receiving_link.writer.seal_all(data)))
    halves = [receiving_link.sock.recv(MAX_LEN, socket.MSG_WAITALL) for _ in range(2)]
    assert halves == list(pieces(data, MAX_LEN))


@every_receiving_variant
def test_multiple_send_single_recv(receiving_link: ReceivingLink) -> None:
    """A read goes on over the end of a record of data."""
    receiving_link.send_records((23, b"0123456789"), (23, b"abcdefghij"))
    assert receiving_link.sock.recv(20, socket.MSG_WAITALL) == b"0123456789abcdefghij"


@every_receiving_variant
def test_single_send_multiple_recv_non_align(receiving_link: ReceivingLink) -> None:
    receiving_link.send(b"0123456789abcde")
    assert receiving_link.sock.recv(10) == b"0123456789"
    assert receiving_link.sock.recv(10) == b"abcde"


@every_receiving_variant
def test_recv_partial(receiving_link: ReceivingLink) -> None:
    receiving_link.send(b"test_read_partial")
    assert receiving_link.sock.recv(9, socket.MSG_WAITALL) == b"test_read"
    assert receiving_link.sock.recv(8, socket.MSG_WAITALL) == b"_partial"


@every_receiving_variant
def test_recv_nonblock(receiving_link: ReceivingLink) -> None:
    sock = receiving_link.sock
    calls = [
        lambda flags: sock.recv(100, flags),
        lambda flags: sock.recv_into(bytearray(100), 0, flags),
        lambda flags: sock.recvmsg(100, 0, flags),
        lambda flags: sock.recvmsg(100, GET_RECORD_SPACE, flags | socket.MSG_PEEK),
        lambda flags: sock.recvmsg_into([bytearray(100)], 0, flags),
    ]
    for call in calls:
        with pytest.raises(BlockingIOError):
            call(socket.MSG_DONTWAIT)
    sock.setblocking(False)
    for call in calls:
        with pytest.raises(BlockingIOError):
            call(0)
    sock.settimeout(20)
    receiving_link.send(TEXT)
    assert sock.recv(100) == TEXT


@pytest.mark.parametrize("sizes", [[13], [MAX_LEN], [16] * 1024, [1, 2, 3, 10_000, 10_000]])
@two_receiving_variants
def test_recvmsg(receiving_link: ReceivingLink, sizes: list[int]) -> None:
    """Into one buffer, into a large one, into 1,024: what there is room for, and nothing beyond."""
    buffers = [bytearray(size) for size in sizes]
    data = os.urandom(min(MAX_LEN, sum(sizes)))
    receiving_link.send(data)
    count, controls, flags, _ = receiving_link.sock.recvmsg_into(buffers, GET_RECORD_SPACE)
    assert count == len(data)
    assert b"".join(buffers) == data + bytes(sum(sizes) - len(data))
    assert record_of(controls) == (23, 3, 3, len(data))
    assert flags == socket.MSG_EOR


@every_receiving_variant
def test_recv_efault(receiving_link: ReceivingLink) -> None:
    """A buffer that cannot be written to costs no data."""
    sock = receiving_link.sock
    receiving_link.send(TEXT)
    for buffer in (bytes(100), memoryview(bytearray(100)).toreadonly()):
        with pytest.raises((TypeError, BufferError)):
            sock.recv_into(buffer)  # type: ignore[arg-type]
        with pytest.raises((TypeError, BufferError)):
            sock.recvmsg_into([buffer])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="negative"):
        sock.recv(-1)
    assert sock.recv(0) == b""
    assert sock.recv(100) == TEXT


@pytest.mark.rule("socket(7) SO_RCVLOWAT")
@every_receiving_variant
def test_recv_lowat(receiving_link: ReceivingLink) -> None:
    """With SO_RCVLOWAT a read waits for so many bytes, whatever the records are."""
    sock = receiving_link.sock
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 8)
    receiving_link.send_records((23, b"0123456789"), (23, b"abcdefghij"))
    assert sock.recv(1) == b"0"
    assert sock.recv(6, socket.MSG_WAITALL) == b"123456"
    # Three are left of the first record.
    assert sock.recv(100) == b"789abcdefghij"
    receiving_link.send(b"few")
    assert sock.recv(3) == b"few"
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(sock.recv(100)), daemon=True)
    reader.start()
    for piece in (b"seven b", b"y", b"tes"):
        # Time for a reader that is too early.
        time.sleep(0.02)
        receiving_link.send(piece)
    reader.join(20)
    rest = 11 - len(received[0])
    assert len(received[0]) >= 8
    assert received[0] + sock.recv(rest, socket.MSG_WAITALL if rest else 0) == b"seven bytes"


@pytest.mark.rule("recv(2) MSG_WAITALL")
@every_receiving_variant
def test_waitall_up_to_the_end(receiving_link: ReceivingLink) -> None:
    receiving_link.send_records((23, b"one"), (23, b"two"))
    receiving_link.peer.shutdown(socket.SHUT_WR)
    assert receiving_link.sock.recv(100, socket.MSG_WAITALL) == b"onetwo"
    assert receiving_link.sock.recv(100, socket.MSG_WAITALL) == b""


@pytest.mark.parametrize("segment", [1, 7, 1460])
@every_receiving_variant
def test_segments_of_any_size(receiving_link: ReceivingLink, segment: int) -> None:
    """However the network cuts the records, and whatever sizes are read."""
    link = receiving_link
    data = os.urandom(2000 if segment == 1 else 100_000)
    sizes = random.Random(segment)
    records, at = [], 0
    while at < len(data):
        size = sizes.choice((1, 2, 100, 5000, MAX_LEN))
        records.append(link.writer.seal(data[at : at + size]))
        at += size
    link.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def write() -> None:
        for piece in pieces(b"".join(records), segment):
            link.peer.sendall(piece)
        link.peer.shutdown(socket.SHUT_WR)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    received = bytearray()
    while part := link.sock.recv(sizes.choice((1, 10, 3000, 65536))):
        received += part
    writer.join(20)
    assert received == data


@two_receiving_variants
def test_ways_to_receive_may_be_mixed(receiving_link: ReceivingLink) -> None:
    """``recv`` and ``recvmsg`` go on where the other has stopped."""
    sock = receiving_link.sock
    receiving_link.send_records((23, b"0123456789"), (23, b"abcdefghij"), (22, b"message"))
    assert sock.recv(4) == b"0123"
    got = receive(sock, 4)
    # The control message goes with the beginning of a record.
    assert (got.data, got.record, got.ends_record) == (b"4567", None, False)
    got = receive(sock)
    assert (got.data, got.record, got.ends_record) == (b"89", None, True)
    got = receive(sock, 4)
    assert (got.data, got.record, got.ends_record) == (b"abcd", (23, 3, 3, 10), False)
    buffer = bytearray(100)
    assert sock.recv_into(buffer) == 6
    assert buffer[:6] == b"efghij"
    assert receive(sock).content_type == 22


@pytest.mark.parametrize("minor", [0, 5, 200])
@two_receiving_variants
def test_bad_version(fresh: ktls.Socket, suite: Suite, minor: int) -> None:
    refused(fresh, suite, tls_vminor=minor)


@pytest.mark.parametrize("cipher", [50, 59, 10, 70])
@two_receiving_variants
def test_bad_cipher(fresh: ktls.Socket, suite: Suite, cipher: int) -> None:
    refused(fresh, suite, cipher_algorithm=cipher)


@every_receiving_variant
def test_keysizes(fresh: ktls.Socket, suite: Suite) -> None:
    """Exactly the suite's own size."""
    good = {32} if suite.name.startswith("chacha") else {16, 32}
    for length in (1, 8, 15, 16, 17, 20, 24, 31, 32, 33, 48, 64):
        if length not in good:
            refused(fresh, suite, cipher_key=bytes(length))
    enable_receiving(fresh, Secrets(suite))
    assert fresh.getsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_MODE) == ktls.Mode.SW


def refused(sock: ktls.Socket, suite: Suite, **changes: Any) -> None:
    fails(sock, errno.EINVAL, lambda: enable_receiving(sock, Secrets(suite), **changes))
    assert sock.getsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_MODE) == ktls.Mode.NONE
