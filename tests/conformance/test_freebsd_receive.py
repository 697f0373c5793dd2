"""FreeBSD's receive cases, one by one under their names: 16 suites, 328 cases.

After what upstream's tests look at, each case of a bad record looks at what becomes of the
connection: what spoils the framing drops it, what spoils one record loses that one.
"""

import errno
import os
import select
import socket
from contextlib import suppress

import pytest

import ktls
from conformance.catalogue import AEAD_SUITES, CBC_SUITES, INVALID_SUITES, receive_cases
from keyed_receiver import (
    ReceivingLink,
    assert_dropped,
    counted,
    enable_receiving,
    fails,
    receive_record,
)
from record_reader import AES_CBC, AES_GCM, HEADER_LEN, Secrets, Suite
from record_writer import changed, header, header_size, least_length, pieces, records_in

CBC = [suite for suite in CBC_SUITES if suite.tls_vminor > 1]
SUITES = CBC + AEAD_SUITES
TLS13 = [suite for suite in AEAD_SUITES if suite.tls_vminor == 4]
EXPLICIT = [*CBC, *(s for s in AEAD_SUITES if (s.cipher_algorithm, s.tls_vminor) == (AES_GCM, 3))]
"""The suites whose records have a nonce or an IV behind the header."""
UNSUPPORTED = [suite for suite in CBC_SUITES if suite.tls_vminor == 1]
MAX_LEN = 16384


def exchange(link: ReceivingLink, wire: bytes) -> list[bytes]:
    """Write piecewise and read whole records, neither end waiting; the records' payloads."""
    link.sock.setblocking(False)
    link.peer.setblocking(False)
    received: list[bytes] = []
    left = memoryview(wire)
    expected = len(records_in(wire))
    while len(received) < expected:
        readable, writable, _ = select.select([link.sock], [link.peer] if left else [], [], 20)
        assert readable or writable, "neither end is ready"
        if writable:
            left = left[link.peer.send(left[:5000]) :]
        if readable:
            with suppress(BlockingIOError):
                content_type, payload = receive_record(link)
                assert content_type == 23
                received.append(payload)
    return received


def lost(link: ReceivingLink, bad: bytes, number: int) -> None:
    """The record is an error, once, and the one behind it is opened all the same."""
    with counted(failed_crypto=1, corrupted_records=0):
        link.peer.sendall(bad)
        fails(link.sock, number)
    link.send(b"the next record")
    assert receive_record(link) == (23, b"the next record")


def dropped(link: ReceivingLink, bad: bytes, number: int) -> None:
    """The record is an error, and the connection's last."""
    with counted(failed_crypto=0, corrupted_records=1):
        link.peer.sendall(bad)
        fails(link.sock, number)
    assert_dropped(link)


def zeros(suite: Suite, length: int) -> bytes:
    """A record of that length without anything in it."""
    return header(suite, length) + bytes(length)


# -- good records ----------------------------------------------------------------------------------


@receive_cases("short", SUITES)
def test_short(receiving_link: ReceivingLink) -> None:
    data = os.urandom(64)
    assert exchange(receiving_link, receiving_link.writer.seal(data)) == [data]


@receive_cases("long", SUITES)
def test_long(receiving_link: ReceivingLink) -> None:
    data = os.urandom(64 * 1024)
    wire = b"".join(receiving_link.writer.seal_all(data))
    assert exchange(receiving_link, wire) == list(pieces(data, MAX_LEN))


@pytest.mark.parametrize(
    ("suite", "length"),
    [
        pytest.param(suite, length, id=f"ktls_receive_{suite}_padding_{length}")
        for suite in CBC
        for length in range(1, 17)
    ],
)
def test_padding(receiving_link: ReceivingLink, length: int) -> None:
    data = os.urandom(length)
    assert exchange(receiving_link, receiving_link.writer.seal(data)) == [data]


@pytest.mark.rule("RFC 5246 6.2.3.2")
@pytest.mark.parametrize(
    ("suite", "extra"),
    [
        pytest.param(suite, extra, id=f"ktls_receive_{suite}_padding_{extra}_extra")
        for suite in CBC
        for extra in (16, 32)
    ],
)
def test_padding_extra(receiving_link: ReceivingLink, extra: int) -> None:
    """More padding than there must be (RFC 5246 §6.2.3.2)."""
    data = os.urandom(16)
    wire = receiving_link.writer.seal(data, padding_len=extra)
    assert exchange(receiving_link, wire) == [data]


@pytest.mark.rule("RFC 8446 5.4")
@receive_cases("short_padded", TLS13)
def test_short_padded(receiving_link: ReceivingLink) -> None:
    data = os.urandom(64)
    wire = receiving_link.writer.seal(data, padding_len=16)
    assert exchange(receiving_link, wire) == [data]


@receive_cases("long_padded", TLS13)
def test_long_padded(receiving_link: ReceivingLink) -> None:
    data = os.urandom(64 * 1024)
    wire = b"".join(receiving_link.writer.seal_all(data, MAX_LEN - 15, padding_len=15))
    assert exchange(receiving_link, wire) == list(pieces(data, MAX_LEN - 15))


# -- records that do not open ----------------------------------------------------------------------


@pytest.mark.rule("RFC 5246 6.2.3", "RFC 8446 5.2")
@receive_cases("bad_data", SUITES)
def test_bad_data(receiving_link: ReceivingLink, suite: Suite) -> None:
    record = receiving_link.writer.seal(os.urandom(64))
    lost(receiving_link, changed(record, header_size(suite)), errno.EBADMSG)


@pytest.mark.rule("RFC 5246 6.2.3", "RFC 8446 5.2")
@receive_cases("bad_mac", SUITES)
def test_bad_mac(receiving_link: ReceivingLink, suite: Suite) -> None:
    record = receiving_link.writer.seal(os.urandom(64))
    mac = header_size(suite) + 64 if suite.cipher_algorithm == AES_CBC else -16
    lost(receiving_link, changed(record, mac), errno.EBADMSG)


@receive_cases("bad_iv", EXPLICIT)
def test_bad_iv(receiving_link: ReceivingLink) -> None:
    record = receiving_link.writer.seal(os.urandom(64))
    lost(receiving_link, changed(record, HEADER_LEN), errno.EBADMSG)


@pytest.mark.rule("RFC 5246 6.2.3.2")
@receive_cases("bad_padding", CBC)
def test_bad_padding(receiving_link: ReceivingLink) -> None:
    record = receiving_link.writer.seal(os.urandom(64))
    lost(receiving_link, changed(record, -1), errno.EBADMSG)


@pytest.mark.rule("RFC 5246 6.2.3.2")
@receive_cases("non_block_size", CBC)
def test_non_block_size(receiving_link: ReceivingLink, suite: Suite) -> None:
    receiving_link.writer.skip()
    lost(receiving_link, zeros(suite, least_length(suite) + 1), errno.EMSGSIZE)


@receive_cases("small_record", SUITES)
def test_small_record(receiving_link: ReceivingLink, suite: Suite) -> None:
    """One byte less than the least that a suite needs, and then the end."""
    with counted(failed_crypto=1, corrupted_records=0):
        receiving_link.peer.sendall(zeros(suite, least_length(suite) - 1))
        receiving_link.peer.shutdown(socket.SHUT_WR)
        fails(receiving_link.sock, errno.EMSGSIZE)
    assert receiving_link.sock.recv(64) == b""


# -- records that end the connection ---------------------------------------------------------------


@receive_cases("bad_major", SUITES)
def test_bad_major(receiving_link: ReceivingLink) -> None:
    record = receiving_link.writer.seal(os.urandom(64))
    dropped(receiving_link, record[:1] + bytes([record[1] + 1]) + record[2:], errno.EINVAL)


@pytest.mark.rule("RFC 5246 6.2.1", "RFC 8446 5.2")
@receive_cases("bad_minor", SUITES)
def test_bad_minor(receiving_link: ReceivingLink) -> None:
    record = receiving_link.writer.seal(os.urandom(64))
    dropped(receiving_link, record[:2] + bytes([record[2] + 1]) + record[3:], errno.EINVAL)


@pytest.mark.rule("RFC 8446 5.2")
@receive_cases("bad_type", TLS13)
def test_bad_type(receiving_link: ReceivingLink) -> None:
    record = receiving_link.writer.seal(os.urandom(64), 0x21, outer_type=24)
    dropped(receiving_link, record, errno.EINVAL)


@pytest.mark.rule("RFC 5246 6.2.3", "RFC 8446 5.2")
@receive_cases("oversized_record", SUITES)
def test_oversized_record(receiving_link: ReceivingLink, suite: Suite) -> None:
    """Its header says enough: the rest may find the connection gone."""
    with counted(failed_crypto=0, corrupted_records=1):
        # ECONNRESET or ENOTCONN, where the reset is here already.
        with suppress(OSError):
            receiving_link.peer.sendall(zeros(suite, 32768))
            receiving_link.peer.shutdown(socket.SHUT_WR)
        fails(receiving_link.sock, errno.EMSGSIZE)
    assert receiving_link.sock.recv(64) == b""


@receive_cases("truncated_record", SUITES)
def test_truncated_record(receiving_link: ReceivingLink) -> None:
    record = receiving_link.writer.seal(os.urandom(64))
    receiving_link.peer.sendall(record[: len(record) // 2])
    receiving_link.peer.shutdown(socket.SHUT_WR)
    fails(receiving_link.sock, errno.EMSGSIZE)
    assert receiving_link.sock.recv(64) == b""


@receive_cases("short_header", EXPLICIT)
def test_short_header(receiving_link: ReceivingLink, suite: Suite) -> None:
    """Less than the suite's header, and then the end."""
    receiving_link.peer.sendall(zeros(suite, 6))
    receiving_link.peer.shutdown(socket.SHUT_WR)
    fails(receiving_link.sock, errno.EMSGSIZE)
    assert receiving_link.sock.recv(64) == b""


# -- suites that are refused -----------------------------------------------------------------------


def refused(sock: ktls.Socket, suite: Suite, number: int) -> None:
    active = ktls.sysctl["kern.ipc.tls.stats.active"]
    with pytest.raises(OSError, match=r"(?i)tls|is ") as caught:
        enable_receiving(sock, Secrets(suite))
    assert caught.value.errno == number
    assert sock.getsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_MODE) == ktls.Mode.NONE
    assert ktls.sysctl["kern.ipc.tls.stats.active"] == active


@pytest.mark.parametrize(
    "suite", [pytest.param(suite, id=f"ktls_receive_invalid_{suite}") for suite in INVALID_SUITES]
)
def test_invalid(fresh: ktls.Socket, suite: Suite) -> None:
    refused(fresh, suite, errno.EINVAL)


@pytest.mark.parametrize(
    "suite", [pytest.param(suite, id=f"ktls_receive_unsupported_{suite}") for suite in UNSUPPORTED]
)
def test_unsupported(fresh: ktls.Socket, suite: Suite) -> None:
    """TLS 1.0: the IV of a record is the end of one that may have been lost."""
    refused(fresh, suite, errno.EPROTONOSUPPORT)
