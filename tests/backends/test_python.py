"""Backends in Python: what they carry, what they are given, and what their faults do."""

import errno
import os
import selectors
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

import ktls
from both_ends import SUITES, both_ends, carried, deregister, enable_for
from ktls import _core, backends
from ktls.backends import Record
from python_ciphers import Cipher, PythonBackend

Pair = tuple[socket.socket, socket.socket]
FAILED = "kern.ipc.tls.stats.failed_crypto"


@pytest.fixture(autouse=True)
def _allow_unload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ktls.sysctl._values, "kern.ipc.tls.allow_unload", 1)


@pytest.fixture
def registered() -> Iterator[Callable[[PythonBackend], PythonBackend]]:
    """Registers a backend, which goes at the end of the test."""
    added: list[PythonBackend] = []

    def register(backend: PythonBackend) -> PythonBackend:
        backends.register(backend)
        added.append(backend)
        return backend

    yield register
    for backend in added:
        deregister(backend)


@pytest.mark.parametrize("kind", SUITES)
@pytest.mark.parametrize("hands", ["seals", "opens", "does both"])
def test_it_carries_what_it_is_given(
    tcp_pair: Pair,
    registered: Callable[[PythonBackend], PythonBackend],
    kind: str,
    hands: str,
) -> None:
    registered(PythonBackend())
    data = os.urandom(3_000_000)
    sealer = "ring" if hands == "opens" else "python"
    opener = "ring" if hands == "seals" else "python"
    node = f"kern.ipc.tls.stats.python.{kind}_"
    before = [ktls.sysctl.number(node + way) for way in ("encrypts", "decrypts")]
    with both_ends(tcp_pair, kind, sealer=sealer, opener=opener) as (near, far):
        assert (near.backend, far.backend) == (sealer, None)
        assert carried(near, far, data) == data
    after = [ktls.sysctl.number(node + way) for way in ("encrypts", "decrypts")]
    records = -(-len(data) // 16384)
    expected = [records * (sealer == "python"), records * (opener == "python")]
    assert [new - old for old, new in zip(before, after, strict=True)] == expected


def test_many_short_writes(
    tcp_pair: Pair, registered: Callable[[PythonBackend], PythonBackend]
) -> None:
    registered(PythonBackend())
    with both_ends(tcp_pair, "tls13_gcm", sealer="python", opener="python") as (near, far):
        for number in range(500):
            near.send(b"%06d" % number)
            if number % 100 == 99:
                near.flush()
        data = b"".join(b"%06d" % number for number in range(500))
        came = b""
        while len(came) < len(data):
            came += far.recv(1000)
        assert came == data


def test_what_it_is_asked_and_given(
    tcp_pair: Pair, registered: Callable[[PythonBackend], PythonBackend]
) -> None:
    seen: list[tuple[Any, ...]] = []

    class Looking(Cipher):
        def seal(self, batch: Sequence[Record]) -> None:
            for record in batch:
                views = (record.header, record.payload, record.trailer)
                seen.append(
                    (record.sequence, record.content_type, *(bytes(view) for view in views))
                )
                assert bytes(record.text) == bytes(record.payload) + bytes(record.trailer[:-16])
                assert not any(view.readonly for view in views)
            super().seal(batch)

    class Backend(PythonBackend):
        def cipher(self, aead: Any) -> Any:
            return Looking(aead)

    backend = registered(Backend())
    with both_ends(tcp_pair, "tls13_gcm", sealer="python", opener="python") as (near, far):
        near.send(b"hello")
        assert far.recv(5) == b"hello"
    assert [(each.direction, each.tls_vminor, each.key_len) for each in backend.asked] == [
        ("send", 4, 32),
        ("receive", 4, 32),
    ]
    header = bytes([23, 3, 3, 0, 5 + 1 + 16])
    assert seen == [(0, 23, header, b"hello", bytes([23]) + bytes(16))]


def test_a_view_that_is_kept_is_harmless(
    tcp_pair: Pair, registered: Callable[[PythonBackend], PythonBackend]
) -> None:
    kept: list[memoryview] = []
    derived: list[memoryview] = []

    class Keeping(Cipher):
        def seal(self, batch: Sequence[Record]) -> None:
            super().seal(batch)
            kept.extend(record.text for record in batch)
            derived.extend(memoryview(record.payload) for record in batch)

    class Backend(PythonBackend):
        def cipher(self, aead: Any) -> Any:
            return Keeping(aead)

    registered(Backend())
    with both_ends(tcp_pair, "tls13_gcm", sealer="python") as (near, far):
        for _ in range(50):
            near.send(b"secret words")
            assert far.recv(100) == b"secret words"
            for view in derived:
                view[:] = bytes(len(view))
        for view in kept:
            with pytest.raises(ValueError, match="released memoryview"):
                view[0] = 1
        assert not any(any(view) for view in derived), "what is left is zeros"


class Rubbish(Cipher):
    """Fails in the way of a name."""

    def __init__(self, way: str) -> None:
        self.way = way

    def _fail(self) -> Any:
        match self.way:
            case "raises":
                raise ZeroDivisionError("of the test")
            case "exits":
                raise SystemExit(3)
            case "returns":
                return 16400
            case _:
                return [b"record"]

    def seal(self, batch: Sequence[Record]) -> Any:
        return self._fail()

    def open(self, batch: Sequence[Record]) -> Any:
        return self._fail()


WAYS = ["raises", "exits", "returns", "returns records"]


class Failing(PythonBackend):
    def __init__(self, way: str) -> None:
        super().__init__("failing")
        self.way = way

    def cipher(self, aead: Any) -> Any:
        return Rubbish(self.way)


@pytest.mark.parametrize("way", WAYS)
def test_one_that_fails_to_seal_ends_that_connection(
    tcp_pair: Pair, registered: Callable[[PythonBackend], PythonBackend], way: str
) -> None:
    registered(Failing(way))
    before = ktls.sysctl.number(FAILED)
    with both_ends(tcp_pair, "tls13_gcm", sealer="failing") as (near, far):
        near.send(b"x")
        with pytest.raises(OSError, match="the backend failing failed") as caught:
            near.flush(60)
        assert caught.value.errno == errno.EIO
        with pytest.raises(ConnectionResetError):
            far.recv(1)
    assert ktls.sysctl.number(FAILED) == before + 1


@pytest.mark.parametrize("way", WAYS)
def test_one_that_fails_to_open_ends_that_connection(
    tcp_pair: Pair, registered: Callable[[PythonBackend], PythonBackend], way: str
) -> None:
    registered(Failing(way))
    before = ktls.sysctl.number(FAILED)
    with both_ends(tcp_pair, "tls13_gcm", opener="failing") as (near, far):
        near.send(b"x")
        with pytest.raises(OSError, match="the backend failing failed") as caught:
            far.recv(1)
        assert caught.value.errno == errno.EIO
    assert ktls.sysctl.number(FAILED) == before + 1


def test_a_record_that_is_false_is_refused_and_the_next_is_opened(
    tcp_pair: Pair, registered: Callable[[PythonBackend], PythonBackend]
) -> None:
    registered(PythonBackend())
    ktls.enable()
    near, end = tcp_pair
    en = enable_for("tls12_chacha20")
    sealer = _core.Sealer(
        _core.Keys(en.tls_vminor, en.cipher_algorithm, en.cipher_key, en.iv), provider="ring"
    )
    first, second = bytearray(sealer.seal(b"first")), sealer.seal(b"second")
    first[-1] ^= 1
    ktls.sysctl["kern.ipc.tls.backend"] = "python"
    with ktls.Socket(end) as far:
        far.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE, en)
        near.sendall(bytes(first) + second)
        with pytest.raises(OSError, match="a record of the peer was lost") as caught:
            far.recv(100)
        assert caught.value.errno == errno.EBADMSG
        assert far.recv(100) == b"second"


@pytest.mark.parametrize("answer", ["refuses", "raises", "is no callable"])
def test_a_session_that_it_does_not_take_goes_to_the_next(
    registered: Callable[[PythonBackend], PythonBackend], answer: str
) -> None:
    class Backend(PythonBackend):
        def try_session(self, params: Any) -> Any:
            if answer == "raises":
                raise RuntimeError("no session today")
            return None if answer == "refuses" else 5

    registered(Backend("proud", prio=1000))
    chosen, _ = backends.choose(4, ktls.CRYPTO_AES_NIST_GCM_16, 16)
    assert chosen.name in ("ring", "aws-lc")


def test_cbc_is_left_to_others(registered: Callable[[PythonBackend], PythonBackend]) -> None:
    registered(PythonBackend(prio=1000))
    assert backends.choose(3, ktls.CRYPTO_AES_CBC, 16)[0].name in ("ring", "aws-lc")
    assert backends.choose(3, ktls.CRYPTO_AES_NIST_GCM_16, 16)[0].name == "python"


def test_callers_that_hold_the_interpreter_do_not_wait_for_it(
    tcp_pair: Pair, registered: Callable[[PythonBackend], PythonBackend]
) -> None:
    """Forks, looks at the stream and short writes, while the cipher runs for a long time."""

    class Slow(Cipher):
        def seal(self, batch: Sequence[Record]) -> None:
            threading.Event().wait(0.02)
            super().seal(batch)

    class Backend(PythonBackend):
        def cipher(self, aead: Any) -> Any:
            return Slow(aead)

    registered(Backend())
    data = os.urandom(2_000_000)
    with both_ends(tcp_pair, "tls13_gcm", sealer="python", opener="python") as (near, far):
        came: list[bytes] = []
        reader = threading.Thread(target=lambda: came.append(_all(far, len(data))))
        reader.start()
        for at in range(0, len(data), 50_000):
            near.sendall(data[at : at + 50_000])
            _ = near._stream.sequence, near._stream.pending
            if at % 200_000 == 0:
                child = os.fork()
                if child == 0:
                    with suppress(OSError):
                        near.send(b"never")
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
        reader.join()
        assert came == [data]


def _all(far: ktls.Socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        data += far.recv(100_000)
    return bytes(data)


def test_keys_that_follow_each_other(
    tcp_pair: Pair,
    registered: Callable[[PythonBackend], PythonBackend],
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    """Each key, of either side, seals ten records: both renew theirs while the other reads."""
    keys: list[bytes] = []

    class Backend(PythonBackend):
        def try_session(self, params: Any) -> Any:
            make = super().try_session(params)

            def kept(key: bytes) -> Any:
                keys.append(key)
                return make(key)

            return kept

    ktls.enable()
    registered(Backend())
    ktls.sysctl["kern.ipc.tls.backend"] = "python"
    ktls.sysctl["kern.ipc.tls.records_per_key"] = 10
    for context in (server_context, client_context):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        ktls.prepare(context)
    data = os.urandom(3_000_000)

    def far_side() -> bytes:
        with ktls.wrap_socket(tcp_pair[0], client_context, server_hostname="localhost") as client:
            assert (client.backend, client.rx_mode) == ("python", ktls.Mode.SW)
            came = bytearray()
            while len(came) < len(data):
                came += client.recv(100_000)
            client.sendall(data)
            client.unwrap()
            return bytes(came)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(far_side)
        with ktls.wrap_socket(tcp_pair[1], server_context, server_side=True) as server:
            server.sendall(data)
            came = bytearray()
            while len(came) < len(data):
                came += server.recv(100_000)
            assert bytes(came) == data
            server.unwrap()
        assert future.result() == data
    assert len(keys) > 4 * 15, "two directions, two ends"


def test_one_that_fails_to_open_after_a_handshake(
    tcp_pair: Pair,
    registered: Callable[[PythonBackend], PythonBackend],
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    """The program gets EIO, and the peer an alert of its own kind."""

    class Backend(Failing):
        def try_session(self, params: Any) -> Any:
            return super().try_session(params) if params.direction == "receive" else None

    ktls.enable()
    backend = registered(Backend("raises"))
    backend.prio = 1000
    ktls.prepare(server_context)
    before = ktls.sysctl.number(FAILED)

    def far_side() -> str:
        with client_context.wrap_socket(tcp_pair[0], server_hostname="localhost") as client:
            client.sendall(b"request")
            with pytest.raises(ssl.SSLError) as caught:
                client.recv(100)
            return caught.value.reason

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(far_side)
        with ktls.wrap_socket(tcp_pair[1], server_context, server_side=True) as server:
            assert server.backend in ("ring", "aws-lc")
            assert server.rx_mode is ktls.Mode.SW
            with pytest.raises(OSError, match="the backend failing failed") as caught:
                server.recv(100)
            assert caught.value.errno == errno.EIO
            assert future.result() == "TLSV1_ALERT_INTERNAL_ERROR"
    assert ktls.sysctl.number(FAILED) == before + 1


def test_a_selector_is_told(
    tcp_pair: Pair, registered: Callable[[PythonBackend], PythonBackend]
) -> None:
    registered(PythonBackend())
    data = os.urandom(500_000)
    with both_ends(tcp_pair, "tls13_gcm", opener="python") as (near, far):
        far.setblocking(False)
        writer = threading.Thread(target=near.sendall, args=(data,))
        writer.start()
        came = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(far, selectors.EVENT_READ)
            while len(came) < len(data):
                assert selector.select(30), "readable, and nobody says so"
                with suppress(BlockingIOError):
                    came += far.recv(7000)
        writer.join()
        assert came == data
