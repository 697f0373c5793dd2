"""Linux's cases of a KeyUpdate by the peer: what follows waits for the new keys (TLS 1.3)."""

import errno
import os
import select
import socket
import threading

import pytest

import ktls
from keyed_link import parameters
from keyed_receiver import (
    ReceivingLink,
    fails,
    receive,
    receive_record,
    rekey_receiving,
)
from record_reader import SUITES, Secrets, Suite
from record_writer import RecordWriter
from traffic_secrets import KEY_UPDATE, TrafficSecret

TLS13 = [suite for suite in SUITES if suite.tls_vminor == 4]
TLS12 = [suite for suite in SUITES if suite.tls_vminor == 3]
every_13 = pytest.mark.parametrize("suite", TLS13, ids=str)
PEEK = socket.MSG_PEEK
TICKET = bytes([4, 0, 0, 2, 0, 0])


def update(link: ReceivingLink) -> Secrets:
    """Let the peer send a KeyUpdate, and go on with other keys."""
    link.send(KEY_UPDATE, 22)
    secrets = Secrets(link.writer.suite)
    link.writer = RecordWriter(secrets)
    return secrets


def expired(link: ReceivingLink) -> None:
    """Nothing is opened with the old keys any more, whoever asks."""
    sock = link.sock
    for flags in (0, PEEK, socket.MSG_DONTWAIT):
        fails(sock, errno.EKEYEXPIRED, lambda flags=flags: sock.recv(100, flags))
        fails(sock, errno.EKEYEXPIRED, lambda flags=flags: receive(sock, 100, flags))


def readable(link: ReceivingLink, timeout_s: float) -> bool:
    return bool(select.select([link.sock], [], [], timeout_s)[0])


@pytest.mark.rule("RFC 8446 4.6.3")
@every_13
def test_rekey(receiving_link: ReceivingLink) -> None:
    """Data, a KeyUpdate, other keys, data; three times."""
    for round_ in range(3):
        data = b"round %d" % round_
        receiving_link.send(data)
        assert receive_record(receiving_link) == (23, data)
        secrets = update(receiving_link)
        assert receive_record(receiving_link) == (22, KEY_UPDATE)
        expired(receiving_link)
        receiving_link.send(b"under new keys")
        expired(receiving_link)
        rekey_receiving(receiving_link.sock, parameters(secrets))
        assert receive_record(receiving_link) == (23, b"under new keys")


@pytest.mark.rule("RFC 8446 5.3", "RFC 8446 7.2")
@every_13
def test_rekey_by_secret(receiving_link: ReceivingLink, suite: Suite) -> None:
    """The next traffic secret is enough; the numbers begin at 0 (RFC 8446 §5.3)."""
    for secret in TrafficSecret(suite).row(5):
        receiving_link.send(KEY_UPDATE, 22)
        receiving_link.writer = RecordWriter(secret.secrets())
        data = os.urandom(20_000)
        receiving_link.peer.sendall(b"".join(receiving_link.writer.seal_all(data)))
        assert receive_record(receiving_link) == (22, KEY_UPDATE)
        rekey_receiving(receiving_link.sock, secret.value)
        assert receiving_link.sock.recv(len(data), socket.MSG_WAITALL) == data


@every_13
def test_data_before_the_key_update(receiving_link: ReceivingLink) -> None:
    """In one segment: a large read ends before it."""
    writer = receiving_link.writer
    wire = writer.seal(b"before") + writer.seal(KEY_UPDATE, 22)
    secrets = Secrets(writer.suite)
    after = RecordWriter(secrets).seal(b"after")
    receiving_link.peer.sendall(wire + after)
    sock = receiving_link.sock
    assert sock.recv(100, socket.MSG_WAITALL) == b"before"
    fails(sock, errno.EIO, lambda: sock.recv(100))
    assert receive_record(receiving_link) == (22, KEY_UPDATE)
    expired(receiving_link)
    rekey_receiving(sock, parameters(secrets))
    assert sock.recv(100) == b"after"


@every_13
def test_other_messages_change_no_key(receiving_link: ReceivingLink) -> None:
    """Of the handshake messages a KeyUpdate alone; of other types none."""
    for content_type, payload in ((22, TICKET), (23, KEY_UPDATE), (21, KEY_UPDATE)):
        receiving_link.send(payload, content_type)
        assert receive_record(receiving_link) == (content_type, payload)
    receiving_link.send(b"data")
    assert receive_record(receiving_link) == (23, b"data")


@pytest.mark.rule("RFC 8446 4.6.3")
@pytest.mark.parametrize("suite", TLS12, ids=str)
def test_rekey_fail_12(receiving_link: ReceivingLink, suite: Suite) -> None:
    """TLS 1.2 has no KeyUpdate: the message is none, and the keys stay."""
    receiving_link.send(KEY_UPDATE, 22)
    assert receive_record(receiving_link) == (22, KEY_UPDATE)
    sock = receiving_link.sock
    fails(sock, errno.EBUSY, lambda: rekey_receiving(sock, parameters(Secrets(suite))))
    receiving_link.send(b"unchanged")
    assert sock.recv(100) == b"unchanged"


@pytest.mark.parametrize("other", SUITES, ids=str)
@every_13
def test_rekey_fail_13(receiving_link: ReceivingLink, suite: Suite, other: Suite) -> None:
    """Another version or cipher: no effect."""
    secrets = update(receiving_link)
    assert receive_record(receiving_link) == (22, KEY_UPDATE)
    sock = receiving_link.sock
    if other != suite:
        fails(sock, errno.EINVAL, lambda: rekey_receiving(sock, parameters(Secrets(other))))
        expired(receiving_link)
    rekey_receiving(sock, parameters(secrets))
    receiving_link.send(b"under new keys")
    assert sock.recv(100) == b"under new keys"


def test_rekey_without_keys(fresh: ktls.Socket) -> None:
    fails(fresh, errno.EINVAL, lambda: rekey_receiving(fresh, parameters(Secrets(TLS13[0]))))


@every_13
def test_rekey_peek(receiving_link: ReceivingLink) -> None:
    """Looking at a KeyUpdate changes nothing; reading it does."""
    receiving_link.send(b"before")
    secrets = update(receiving_link)
    receiving_link.send(b"after")
    sock = receiving_link.sock
    assert sock.recv(100, PEEK | socket.MSG_WAITALL) == b"before"
    assert sock.recv(6) == b"before"
    for _ in range(3):
        got = receive(sock, flags=PEEK)
        assert (got.content_type, got.data) == (22, KEY_UPDATE)
    assert receive_record(receiving_link) == (22, KEY_UPDATE)
    expired(receiving_link)
    rekey_receiving(sock, parameters(secrets))
    for _ in range(3):
        assert sock.recv(100, PEEK) == b"after"
    assert sock.recv(100) == b"after"


@every_13
def test_rekey_poll_pending(receiving_link: ReceivingLink) -> None:
    """What waits for its keys is not readable, and is as soon as they are there."""
    secrets = update(receiving_link)
    receiving_link.send(b"test_poll")
    assert readable(receiving_link, 20)
    assert receive_record(receiving_link) == (22, KEY_UPDATE)
    assert not readable(receiving_link, 0.03)
    rekey_receiving(receiving_link.sock, parameters(secrets))
    assert readable(receiving_link, 20)
    assert receiving_link.sock.recv(100, socket.MSG_DONTWAIT) == b"test_poll"


@every_13
def test_rekey_poll_pending_beside_the_wait(receiving_link: ReceivingLink) -> None:
    """The keys wake one who waits already."""
    secrets = update(receiving_link)
    receiving_link.send(b"test_poll")
    assert receive_record(receiving_link) == (22, KEY_UPDATE)
    results: list[bool] = []
    waiter = threading.Thread(
        target=lambda: results.append(readable(receiving_link, 20)), daemon=True
    )
    waiter.start()
    rekey_receiving(receiving_link.sock, parameters(secrets))
    waiter.join(30)
    assert results == [True]
    assert receiving_link.sock.recv(100, socket.MSG_DONTWAIT) == b"test_poll"


@every_13
def test_rekey_poll_delay(receiving_link: ReceivingLink) -> None:
    """The keys first, what they open later."""
    secrets = update(receiving_link)
    assert receive_record(receiving_link) == (22, KEY_UPDATE)
    rekey_receiving(receiving_link.sock, parameters(secrets))
    assert not readable(receiving_link, 0.03)
    receiving_link.send(b"test_poll")
    assert readable(receiving_link, 20)
    assert receiving_link.sock.recv(100, socket.MSG_DONTWAIT) == b"test_poll"


@pytest.mark.parametrize("rekeys", [1, 99])
@every_13
def test_tls_offload_rekey(receiving_link: ReceivingLink, suite: Suite, rekeys: int) -> None:
    """As many changes as asked for, and no failure."""
    failed = ktls.sysctl["kern.ipc.tls.stats.failed_crypto"]
    for _ in range(rekeys):
        data = os.urandom(4096)
        receiving_link.send(data)
        secrets = update(receiving_link)
        assert receive_record(receiving_link) == (23, data)
        assert receive_record(receiving_link) == (22, KEY_UPDATE)
        rekey_receiving(receiving_link.sock, parameters(secrets))
    receiving_link.send(b"the last")
    assert receiving_link.sock.recv(100) == b"the last"
    assert ktls.sysctl["kern.ipc.tls.stats.failed_crypto"] == failed
