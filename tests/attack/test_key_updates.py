"""KeyUpdates that nothing else goes with, and the secret that renewal goes on from.

Renewal amid data and writers is in ``handover/test_key_update.py``.
"""

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

import ktls
from full_link import until
from keyed_link import connected, parameters
from record_reader import SUITES, Secrets, raw_records
from support.ends import AUTHORITY, Call, client_context, wrap
from traffic_secrets import TrafficSecret

REKEYS = "kern.ipc.tls.stats.rekeys"
HASH_LEN = 32


@pytest.fixture
def both_ours() -> Iterator[tuple[ktls.TLSSocket, ktls.TLSSocket]]:
    """A connection both ends of which are this library's."""
    near, far = connected()
    near.settimeout(20)
    far.settimeout(20)
    accepting = Call(wrap, "SW", near, True)
    client = wrap("SW", far, False)
    server = accepting.result()
    with server, client:
        assert server.mode is client.mode is ktls.Mode.SW
        server.sendall(b"begin")
        assert client.recv(5) == b"begin"
        yield server, client


@pytest.mark.rule("RFC 8446 4.6.3")
@pytest.mark.parametrize("asks", ["server", "client"])
def test_a_lone_request_is_answered(
    both_ours: tuple[ktls.TLSSocket, ktls.TLSSocket], asks: str
) -> None:
    """RFC 8446 §4.6.3: before the next record of data, also when no data came with it."""
    asking, answering = both_ours if asks == "server" else both_ours[::-1]
    before = ktls.sysctl[REKEYS]
    reading = Call(answering.recv, 10)
    asking.key_update(request=True)
    # It is answered while the reader waits inside of recv, and nobody writes.
    until(lambda: ktls.sysctl[REKEYS] == before + 2)
    assert reading.is_alive()
    answering.sendall(b"x")
    assert asking.recv(1) == b"x"
    assert ktls.sysctl[REKEYS] == before + 2
    asking.sendall(b"z")
    assert reading.result() == b"z"
    answering.sendall(b"y")
    assert asking.recv(1) == b"y"
    assert ktls.sysctl[REKEYS] == before + 2


@pytest.mark.rule("RFC 8446 4.6.3")
def test_a_lone_request_for_nothing_is_not_answered(
    both_ours: tuple[ktls.TLSSocket, ktls.TLSSocket],
) -> None:
    asking, answering = both_ours
    before = ktls.sysctl[REKEYS]
    reading = Call(answering.recv, 10)
    asking.key_update(request=False)
    reading.join(0.3)
    answering.sendall(b"x")
    assert asking.recv(1) == b"x"
    asking.sendall(b"z")
    assert reading.result() == b"z"
    assert ktls.sysctl[REKEYS] == before + 1


@pytest.mark.rule("RFC 8446 4.6.3")
def test_every_request_is_answered(both_ours: tuple[ktls.TLSSocket, ktls.TLSSocket]) -> None:
    """Both sides ask, many times, and talk."""
    left, right = both_ours
    before = ktls.sysctl[REKEYS]
    for turn in range(20):
        for asking, answering in ((left, right), (right, left)):
            asking.key_update(request=True)
            asking.sendall(b"%04d" % turn)
            assert answering.recv(4) == b"%04d" % turn
            answering.sendall(b"answer")
            assert asking.recv(6) == b"answer"
    assert ktls.sysctl[REKEYS] == before + 80


# -- two candidates for one secret -----------------------------------------------------------------


@pytest.mark.rule("RFC 8446 7.2")
@pytest.mark.parametrize("first", ["wrong", "right"])
@pytest.mark.parametrize("server_side", [True, False], ids=["server", "client"])
def test_renewal_goes_on_from_the_secret_that_was_right(
    server_side: bool, first: str, tmp_path
) -> None:
    """Two secrets are logged for one random; the one that a record proves is renewed."""
    ktls.enable()
    log = tmp_path / "keys.log"
    log.touch()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    if server_side:
        AUTHORITY.issue_cert("localhost").configure_cert(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.keylog_filename = str(log)
    ktls.prepare(context)
    ktls.sysctl["kern.ipc.tls.records_per_key"] = 10
    near, far = connected()
    near.setblocking(False)
    far.settimeout(20)
    own = ktls.wrap_socket(
        near,
        context,
        server_side=server_side,
        server_hostname=None if server_side else "localhost",
        do_handshake_on_connect=False,
    )
    peer = MemoryPeer(far, not server_side)
    label = "SERVER" if server_side else "CLIENT"
    random_of_client = peer.hello_random() if server_side else None
    before = ktls.sysctl[REKEYS]
    if server_side and first == "wrong":
        add_wrong_secret(log, label, random_of_client)
    while True:
        with suppress(ssl.SSLWantReadError):
            own.do_handshake()
            break
        if not server_side and random_of_client is None:
            random_of_client = peer.take_hello()
            if first == "wrong":
                add_wrong_secret(log, label, random_of_client)
        peer.step()
        if first == "right" and f"{label}_TRAFFIC_SECRET_0" in log.read_text():
            add_wrong_secret(log, label, random_of_client)
    with own, far:
        assert (own.mode, own.why) == (ktls.Mode.SW, "")
        data = os.urandom(55 * 16384)
        own.settimeout(20)
        sending = Call(own.sendall, data)
        assert peer.read(len(data)) == data
        sending.result()
        assert ktls.sysctl[REKEYS] - before >= 5


def add_wrong_secret(log, label: str, client_random: bytes | None) -> None:
    assert client_random is not None
    line = f"{label}_TRAFFIC_SECRET_0 {client_random.hex()} {os.urandom(HASH_LEN).hex()}\n"
    with log.open("a") as file:
        # For the other hash, too: one of the two has the length that fits.
        file.write(line)
        file.write(f"{line.split(' ')[0]} {client_random.hex()} {os.urandom(48).hex()}\n")


class MemoryPeer:
    """A stock TLS peer that is moved by hand: it shows the hello that is on its way."""

    def __init__(self, sock, server_side: bool) -> None:
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = client_context()
        if server_side:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            AUTHORITY.issue_cert("localhost").configure_cert(context)
        hostname = None if server_side else "localhost"
        self._tls = context.wrap_bio(
            self._in, self._out, server_side=server_side, server_hostname=hostname
        )
        self._done = False

    def hello_random(self) -> bytes:
        """Begin; the random of the hello that we are about to send."""
        with suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        hello = self._out.read()
        self._sock.sendall(hello)
        return hello[11:43]

    def take_hello(self) -> bytes:
        """The random of the hello that came."""
        hello = next(raw_records(self._sock))
        self._in.write(hello)
        return hello[11:43]

    def step(self) -> None:
        """Take what came, answer it."""
        self._sock.settimeout(0.05)
        with suppress(TimeoutError):
            self._in.write(self._sock.recv(65536))
        self._sock.settimeout(20)
        if not self._done:
            with suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
                self._done = True
        self._sock.sendall(self._out.read())

    def read(self, count: int) -> bytes:
        while not self._done:
            self.step()
        parts = []
        while count:
            try:
                part = self._tls.read(min(count, 65536))
            except ssl.SSLWantReadError:
                data = self._sock.recv(65536)
                assert data, "the stream ended early"
                self._in.write(data)
                continue
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


# -- the ledger of keys ----------------------------------------------------------------------------


@pytest.mark.rule("RFC 8446 5.3")
def test_a_key_that_renewal_made_cannot_be_installed() -> None:
    """However a key came to be: installed, derived at the limit, derived for an update."""
    ktls.enable()
    ktls.sysctl["kern.ipc.tls.records_per_key"] = 5
    suite = SUITES[3]
    row = TrafficSecret(suite).row(8)
    near, far = connected()
    with ktls.Socket(near) as sock, far:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(suite)))
        sock.rekey(row[0].value)
        before = ktls.sysctl[REKEYS]
        for _ in range(13):
            sock.sendall(b"x")
        assert ktls.sysctl[REKEYS] == before + 2
        for secret in row[:3]:
            with pytest.raises(OSError, match="used") as caught:
                sock.rekey(secret.value)
            assert caught.value.errno == 22
            with pytest.raises(OSError, match="used"):
                sock.rekey(parameters(secret.secrets()))
        # Nothing has changed, and a fresh one is taken.
        sock.sendall(b"y")
        sock.rekey(TrafficSecret(suite).value)
        sock.sendall(b"z")


def test_the_key_after_the_present_one_may_be_installed_once() -> None:
    """By hand before renewal makes it; then renewal goes on from there, and never back."""
    ktls.enable()
    ktls.sysctl["kern.ipc.tls.records_per_key"] = 5
    suite = SUITES[3]
    row = TrafficSecret(suite).row(4)
    near, far = connected()
    with ktls.Socket(near) as sock, far:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(suite)))
        sock.rekey(row[0].value)
        sock.sendall(b"x")
        sock.rekey(row[1].value)
        for _ in range(8):
            sock.sendall(b"x")
        for secret in row[:3]:
            with pytest.raises(OSError, match="used"):
                sock.rekey(secret.value)


@pytest.mark.rule("RFC 8446 5.3")
def test_renewal_stops_at_a_key_that_was_used() -> None:
    """A later secret of the row was installed by hand before: renewal must not come there again."""
    ktls.enable()
    ktls.sysctl["kern.ipc.tls.records_per_key"] = 5
    suite = SUITES[3]
    row = TrafficSecret(suite).row(3)
    near, far = connected()
    sent = threading.Event()
    with ktls.Socket(near) as sock, far:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(suite)))
        sock.rekey(row[2].value)
        sock.sendall(b"x")
        sock.rekey(row[0].value)
        with pytest.raises(OSError, match=r"(?i)key"):  # noqa: PT012
            for _ in range(40):
                sock.sendall(b"x")
            sent.set()
        assert not sent.is_set()
