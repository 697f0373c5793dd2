"""Linux's cases of installing keys: what is refused, the sizes, the last number, no connection."""

import errno
import io
import socket
from pathlib import Path

import pytest

import ktls
from conformance.catalogue import AEAD_SUITES, CBC_SUITES, SUITES, with_type
from conformance.linux import every_variant
from keyed_link import parameters
from record_reader import CHACHA20_POLY1305, RecordReader, Secrets, Suite, read_records

KEY_LENS = (1, 8, 15, 16, 17, 20, 24, 31, 32, 33, 48, 64)
IV_LENS = (0, 3, 4, 5, 8, 11, 12, 13, 15, 16)


def enable(sock: ktls.Socket, en: ktls.TLSEnable) -> None:
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, en)


def refused(sock: ktls.Socket, en: ktls.TLSEnable) -> None:
    with pytest.raises(OSError, match=r"has|is") as caught:
        enable(sock, en)
    assert caught.value.errno == errno.EINVAL
    assert sock.mode is ktls.Mode.NONE


@pytest.mark.rule("freebsd.md row 10")
@pytest.mark.parametrize("minor", [0, 5, 200])
@pytest.mark.parametrize("suite", [AEAD_SUITES[1]], ids=str)
def test_bad_version(fresh: ktls.Socket, suite: Suite, minor: int) -> None:
    refused(fresh, parameters(Secrets(suite), tls_vminor=minor))


@pytest.mark.parametrize("cipher", [50, 59, 10, 70])
@pytest.mark.parametrize("suite", [AEAD_SUITES[1]], ids=str)
def test_bad_cipher(fresh: ktls.Socket, suite: Suite, cipher: int) -> None:
    refused(fresh, parameters(Secrets(suite), cipher_algorithm=cipher))


@pytest.mark.parametrize("suite", SUITES, ids=str)
def test_keysizes(fresh: ktls.Socket, suite: Suite) -> None:
    """Exactly the suite's own size, of everything."""
    secrets = Secrets(suite)
    good = {32} if suite.cipher_algorithm == CHACHA20_POLY1305 else {16, 32}
    for length in KEY_LENS:
        if length not in good:
            refused(fresh, parameters(secrets, cipher_key=bytes(length)))
    for length in KEY_LENS:
        if length != len(secrets.mac_key):
            refused(fresh, parameters(secrets, auth_key=bytes(length)))
    enable(fresh, parameters(secrets))
    assert fresh.mode is ktls.Mode.SW


@pytest.mark.parametrize("suite", [s for s in SUITES if s.iv_len], ids=str)
def test_iv_sizes(fresh: ktls.Socket, suite: Suite) -> None:
    for length in IV_LENS:
        if length != suite.iv_len:
            refused(fresh, parameters(Secrets(suite), iv=bytes(length)))


@pytest.mark.parametrize("suite", [s for s in CBC_SUITES if not s.iv_len], ids=str)
def test_an_iv_that_is_not_needed_is_ignored(make_link, suite: Suite) -> None:
    with ktls.Socket(socket.socket()) as sock, socket.create_server(("127.0.0.1", 0)) as server:
        secrets = Secrets(suite)
        enable(sock, parameters(secrets, iv=bytes(16)))
        sock.connect(server.getsockname())
        peer, _ = server.accept()
        with peer:
            sock.send(b"data")
            sock.close()
            assert read_records(peer, RecordReader(secrets)) == [(23, b"data")]


@pytest.mark.rule("RFC 5246 6.1", "RFC 8446 5.3")
@every_variant
def test_recseq_wrap(make_link, suite: Suite, tmp_path: Path) -> None:
    """The last number is never used, whichever way the data comes."""
    path = tmp_path / "file"
    path.write_bytes(b"data")
    link = make_link(suite, sequence=2**64 - 1)
    with path.open("rb") as file:
        for send in (
            lambda: link.sock.send(b"data"),
            lambda: link.sock.sendall(bytes(100_000)),
            lambda: link.sock.sendmsg([b"da", b"ta"]),
            lambda: link.sock.sendmsg([b"data"], with_type(21)),
            lambda: link.sock.sendfile(file),
            lambda: link.sock.sendfile(io.BytesIO(b"data")),
        ):
            with pytest.raises(OSError, match="sequence number 18446744073709551615") as caught:
                send()
            assert caught.value.errno == errno.EBADMSG
    link.sock.close()
    assert read_records(link.peer, link.reader) == []


@every_variant
def test_non_established(fresh: ktls.Socket, suite: Suite) -> None:
    """Linux says ENOTCONN; here, as in FreeBSD, keys may come first.  A second set never may."""
    secrets = Secrets(suite)
    enable(fresh, parameters(secrets))
    with pytest.raises(OSError, match="session already") as caught:
        enable(fresh, parameters(Secrets(suite)))
    assert caught.value.errno == errno.EALREADY
    with socket.create_server(("127.0.0.1", 0)) as server:
        fresh.connect(server.getsockname())
        peer, _ = server.accept()
        with peer:
            fresh.sendall(b"the first byte is sealed")
            fresh.close()
            records = read_records(peer, RecordReader(secrets))
    assert records == [(23, b"the first byte is sealed")]


@every_variant
def test_max_payload_len(make_link, suite: Suite) -> None:
    """A smaller limit holds on the wire; it is the limit when the keys are set that counts."""
    ktls.sysctl["kern.ipc.tls.maxlen"] = 512
    link = make_link(suite)
    ktls.sysctl["kern.ipc.tls.maxlen"] = 16384
    link.sock.sendall(bytes(512 * 3))
    link.sock.sendall(bytes(513))
    link.sock.close()
    lens = [len(payload) for _, payload in read_records(link.peer, link.reader)]
    assert lens == [512, 512, 512, 512, 1]
