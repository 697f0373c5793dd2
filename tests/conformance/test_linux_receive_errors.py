"""Linux's cases of bad records, and of data that comes before its time or not at all.

In Linux a connection that has seen a bad record gives nothing but its error.  Here, as in FreeBSD,
the error is raised once: a record that does not open is lost, and those behind it are opened; what
cannot be a record ends the connection.
"""

import errno
import os
import socket
import threading
import time
from contextlib import suppress

import pytest

import ktls
from conformance.linux import RECEIVING_VARIANTS, every_receiving_variant, two_receiving_variants
from keyed_link import connected
from keyed_receiver import (
    ReceivingLink,
    assert_dropped,
    enable_receiving,
    fails,
    receive,
    receive_record,
)
from record_reader import Secrets, Suite
from record_writer import MAX_LEN, RecordWriter, changed, header


@every_receiving_variant
def test_bad_rec(receiving_link: ReceivingLink) -> None:
    """Garbage; FreeBSD looks at the version first, so this is EINVAL and not EMSGSIZE."""
    receiving_link.peer.sendall(b"\x55" * 128)
    fails(receiving_link.sock, errno.EINVAL)
    assert_dropped(receiving_link)


@every_receiving_variant
def test_bad_rec_len(receiving_link: ReceivingLink, suite: Suite) -> None:
    """The right version before garbage."""
    receiving_link.peer.sendall(header(suite, 0x5555) + b"\x55" * 128)
    fails(receiving_link.sock, errno.EMSGSIZE)
    assert_dropped(receiving_link)


@every_receiving_variant
def test_bad_auth(receiving_link: ReceivingLink) -> None:
    receiving_link.peer.sendall(changed(receiving_link.writer.seal(b"test_read"), -1))
    fails(receiving_link.sock, errno.EBADMSG, lambda: receiving_link.sock.recv(128))
    with pytest.raises(BlockingIOError):
        receiving_link.sock.recv(128, socket.MSG_DONTWAIT)
    receiving_link.send(b"unharmed")
    assert receiving_link.sock.recv(128) == b"unharmed"


@every_receiving_variant
def test_bad_cmsg(receiving_link: ReceivingLink) -> None:
    """The same through ``recvmsg``, and for a record that is no data."""
    receiving_link.peer.sendall(changed(receiving_link.writer.seal(b"test_read", 100), -1))
    fails(receiving_link.sock, errno.EBADMSG, lambda: receive(receiving_link.sock, 128))
    receiving_link.send(b"unharmed", 100)
    assert receive_record(receiving_link) == (100, b"unharmed")


@every_receiving_variant
def test_bad_in_large_read(receiving_link: ReceivingLink) -> None:
    """Two good records before the bad one are delivered, and nothing of it."""
    link = receiving_link
    good = [link.writer.seal(b"first"), link.writer.seal(b"second")]
    bad = changed(link.writer.seal(os.urandom(MAX_LEN)), -1)
    link.peer.sendall(b"".join(good) + bad)
    buffer = bytearray(3 * MAX_LEN)
    assert link.sock.recv(11, socket.MSG_WAITALL) == b"firstsecond"
    fails(link.sock, errno.EBADMSG, lambda: link.sock.recv_into(buffer))
    assert buffer == bytes(3 * MAX_LEN)
    link.send(b"unharmed")
    assert link.sock.recv(128) == b"unharmed"


@every_receiving_variant
def test_bad_behind_good_in_one_read(receiving_link: ReceivingLink) -> None:
    """A large read returns what is good, and the error is that of a call of its own."""
    link = receiving_link
    good = link.writer.seal(b"good")
    bad = changed(link.writer.seal(b"spoilt"), -1)
    link.peer.sendall(good + bad + link.writer.seal(b"after"))
    received, errors = b"", []
    while not errors or len(received) < 9:
        try:
            received += link.sock.recv(10_000)
        except OSError as error:
            errors.append(error.errno)
    assert (received, errors) == (b"goodafter", [errno.EBADMSG])


@pytest.mark.rule("RFC 5246 6.1", "RFC 8446 5.3")
@two_receiving_variants
def test_a_replayed_record(receiving_link: ReceivingLink) -> None:
    """A record has one number: the second time it does not open."""
    record = receiving_link.writer.seal(b"once")
    receiving_link.peer.sendall(record + record)
    assert receiving_link.sock.recv(4) == b"once"
    fails(receiving_link.sock, errno.EBADMSG)


@pytest.mark.rule("RFC 8446 5.4")
@pytest.mark.parametrize("zeros", [1, 17, 16385])
def test_padding_alone(make_receiving_link, zeros: int) -> None:
    """A TLS 1.3 record without a content type (RFC 8446 §5.4)."""
    link = make_receiving_link(RECEIVING_VARIANTS["13_aes_gcm"])
    link.peer.sendall(link.writer.seal_without_type(zeros))
    fails(link.sock, errno.EBADMSG)
    link.send(b"unharmed")
    assert link.sock.recv(128) == b"unharmed"


@every_receiving_variant
def test_timeo(receiving_link: ReceivingLink) -> None:
    """A time-out costs nothing, also in the middle of a record."""
    sock = receiving_link.sock
    record = receiving_link.writer.seal(b"test_read")
    sock.settimeout(0.05)
    for piece in (record[:3], record[3:10], record[10:-1]):
        with pytest.raises(TimeoutError):
            sock.recv(100)
        receiving_link.peer.sendall(piece)
        with pytest.raises(TimeoutError):
            receive(sock)
    sock.settimeout(20)
    receiving_link.peer.sendall(record[-1:])
    assert sock.recv(100) == b"test_read"


@two_receiving_variants
def test_oob_pressure(receiving_link: ReceivingLink) -> None:
    """Urgent data around garbage: an error, and nobody waits."""
    peer = receiving_link.peer
    peer.send(b"\xff" * 5, socket.MSG_OOB)
    # A connection error, where the garbage has been looked at already.
    with suppress(ConnectionError):
        peer.sendall(b"\xff" * 65536)
        for _ in range(64):
            peer.send(b"\xff" * 5, socket.MSG_OOB)
    fails(receiving_link.sock, errno.EINVAL)
    assert receiving_link.sock.recv(100) == b""


@every_receiving_variant
def test_prequeue(suite: Suite) -> None:
    """20,000 bytes that came before the keys are opened, part of a record among them."""
    near, far = connected()
    secrets = Secrets(suite)
    writer = RecordWriter(secrets)
    data = os.urandom(20_000)
    records = writer.seal_all(data)
    late = writer.seal(b"late")
    with ktls.Socket(near) as sock, far:
        sock.settimeout(20)
        far.sendall(b"".join(records) + late[:7])
        # All of it is here.
        size = sum(map(len, records)) + 7
        assert sock.recv(size, socket.MSG_PEEK | socket.MSG_WAITALL)[:5] == records[0][:5]
        enable_receiving(sock, secrets)
        assert sock.recv(len(data), socket.MSG_WAITALL) == data
        far.sendall(late[7:])
        assert sock.recv(100) == b"late"


@two_receiving_variants
def test_data_steal(suite: Suite) -> None:
    """Who waited in a plain ``recv`` when the keys came does not get ciphertext."""
    near, far = connected()
    secrets = Secrets(suite)
    data = os.urandom(1000)
    stolen: list[bytes] = []
    with ktls.Socket(near) as sock, far:
        waiter = threading.Thread(target=lambda: stolen.append(sock.recv(100)), daemon=True)
        waiter.start()
        time.sleep(0.05)
        enable_receiving(sock, secrets)
        sock.settimeout(20)
        far.sendall(RecordWriter(secrets).seal(data))
        waiter.join(20)
        rest = sock.recv(1000 - len(stolen[0]), socket.MSG_WAITALL)
    assert stolen[0] + rest == data


@every_receiving_variant
def test_rekey_rx(receiving_link: ReceivingLink, suite: Suite) -> None:
    """Linux takes the option again as a change of keys; here, as in FreeBSD, it stays EALREADY."""
    sock = receiving_link.sock
    fails(sock, errno.EALREADY, lambda: enable_receiving(sock, Secrets(suite)))
    receiving_link.send(b"unchanged")
    assert sock.recv(100) == b"unchanged"
