"""``Socket.rekey``: the next keys of a live connection."""

import errno
import socket
import threading
from collections.abc import Callable

import pytest

import ktls
from keyed_link import Link, parameters
from record_reader import SUITES, RecordReader, Secrets, Suite, raw_records, read_data, read_record
from traffic_secrets import KEY_UPDATE, TrafficSecret, read_generations

TLS13 = [suite for suite in SUITES if suite.tls_vminor == 4]
NOT_TLS13 = [suite for suite in SUITES if suite.tls_vminor != 4]

every_suite = pytest.mark.parametrize("suite", TLS13, ids=str)


@pytest.mark.rule("RFC 8446 4.6.3", "RFC 8446 5.3", "RFC 8446 7.2")
@every_suite
def test_a_secret_is_announced_and_begins_at_0(
    make_link: Callable[..., Link], suite: Suite
) -> None:
    link = make_link(suite)
    secret = TrafficSecret(suite)
    before = ktls.sysctl["kern.ipc.tls.stats.rekeys"]
    link.sock.send(b"old")
    link.sock.rekey(secret.value)
    link.sock.send(b"new")
    link.sock.rekey(bytearray(secret.next().value))
    link.sock.send(b"newest")
    link.sock.close()
    assert read_generations(link.peer, link.reader, secret) == [
        [(23, b"old"), (22, KEY_UPDATE)],
        [(23, b"new"), (22, KEY_UPDATE)],
        [(23, b"newest")],
    ]
    assert ktls.sysctl["kern.ipc.tls.stats.rekeys"] - before == 2


@every_suite
def test_parameters_are_a_silent_change(make_link: Callable[..., Link], suite: Suite) -> None:
    link = make_link(suite)
    other = Secrets(suite)
    link.sock.send(b"old")
    link.sock.rekey(parameters(other))
    link.sock.send(b"new")
    link.sock.close()
    assert read_record(link.peer, link.reader) == (23, b"old")
    assert read_data(link.peer, RecordReader(other)) == b"new"


@pytest.mark.rule("RFC 8446 4.6.3")
def test_what_was_accepted_keeps_its_keys(make_link: Callable[..., Link]) -> None:
    """The change comes while most of a write still waits for the socket."""
    link = make_link(small=True)
    secret = TrafficSecret(TLS13[0])
    link.sock.setblocking(False)
    accepted = link.sock.send(bytes(500_000))
    link.sock.rekey(secret.value)
    link.sock.setblocking(True)
    writer = threading.Thread(target=link.sock.sendall, args=(b"\1" * 100_000,))
    writer.start()
    try:
        link.sock.settimeout(20)
        read: list[list[tuple[int, bytes]]] = []
        reader = threading.Thread(
            target=lambda: read.extend(read_generations(link.peer, link.reader, secret))
        )
        reader.start()
        writer.join(20)
        link.sock.close()
        reader.join(20)
    finally:
        link.peer.shutdown(socket.SHUT_RDWR)
        writer.join(20)
        reader.join(20)
    old, new = read
    assert old[-1] == (22, KEY_UPDATE)
    assert b"".join(payload for _, payload in old[:-1]) == bytes(accepted)
    assert b"".join(payload for _, payload in new) == b"\1" * 100_000


def fails(link: Link, number: int, new: object, match: str) -> None:
    """It is refused, and nothing has changed."""
    with pytest.raises(OSError, match=match) as caught:
        link.sock.rekey(new)
    assert caught.value.errno == number
    link.sock.send(b"as before")
    assert read_record(link.peer, link.reader) == (23, b"as before")


@pytest.mark.rule("RFC 8446 4.6.3")
@pytest.mark.parametrize("suite", NOT_TLS13, ids=str)
def test_rekey_needs_tls13(make_link: Callable[..., Link], suite: Suite) -> None:
    link = make_link(suite)
    fails(link, errno.EBUSY, bytes(32), r"TLS 1\.2 has no key update")
    fails(link, errno.EBUSY, parameters(Secrets(suite)), "make a new connection")


@every_suite
def test_rekey_refuses_keys_that_do_not_fit(make_link: Callable[..., Link], suite: Suite) -> None:
    link = make_link(suite)
    for other in SUITES:
        if other != suite:
            fails(link, errno.EINVAL, parameters(Secrets(other)), "keeps version and cipher")
    fails(link, errno.EINVAL, parameters(Secrets(suite), iv=bytes(4)), "iv has 4 bytes")
    fails(link, errno.EINVAL, parameters(Secrets(suite), rec_seq=b""), "rec_seq has 0 bytes")
    expected = 48 if suite.name.endswith("aes256-gcm") else 32
    for length in (0, 16, 80 - expected):
        fails(link, errno.EINVAL, bytes(length), f"has {length} bytes; .* has {expected}")
    for wrong in (5, "secret"):
        # The value is not shown: it may be a secret all the same.
        words = f"the next traffic secret as bytes, or a TLSEnable, not {type(wrong).__name__}$"
        with pytest.raises(TypeError, match=words):
            link.sock.rekey(wrong)  # type: ignore[arg-type]


@pytest.mark.rule("RFC 8446 5.3")
@every_suite
def test_rekey_refuses_keys_that_were_used(make_link: Callable[..., Link], suite: Suite) -> None:
    """Their numbers would."""
    link = make_link(suite)
    fails(link, errno.EINVAL, parameters(link.secrets), "used on this connection before")
    secret = TrafficSecret(suite)
    link.sock.rekey(secret.value)
    assert read_record(link.peer, link.reader) == (22, KEY_UPDATE)
    link.reader = RecordReader(secret.secrets())
    fails(link, errno.EINVAL, secret.value, "used on this connection before")
    fails(link, errno.EINVAL, parameters(secret.secrets()), "used on this connection before")


def test_rekey_without_a_session_is_refused(plain: tuple[ktls.Socket, socket.socket]) -> None:
    sock, _ = plain
    with pytest.raises(OSError, match="no session to rekey") as caught:
        sock.rekey(bytes(32))
    assert caught.value.errno == errno.EINVAL


def test_rekey_after_the_end_is_refused(make_link: Callable[..., Link]) -> None:
    link = make_link()
    link.sock.shutdown(socket.SHUT_WR)
    with pytest.raises(OSError, match="shut down") as caught:
        link.sock.rekey(bytes(32))
    assert caught.value.errno == errno.EPIPE
    link.sock.close()
    with pytest.raises(OSError, match="closed") as caught:
        link.sock.rekey(bytes(32))
    assert caught.value.errno == errno.EBADF
    assert list(raw_records(link.peer)) == []
