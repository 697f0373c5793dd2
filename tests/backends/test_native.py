"""The example of a native backend as a wheel of its own, and native backends that are rubbish."""

import ctypes
import errno
import importlib
import os
import socket
import ssl
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import ktls
from both_ends import SUITES, both_ends, carried, deregister, enable_for
from ktls import _core, backends

Pair = tuple[socket.socket, socket.socket]
FAILED = "kern.ipc.tls.stats.failed_crypto"
CHACHA = [kind for kind in SUITES if kind.endswith("chacha20")]


@pytest.fixture(autouse=True)
def _allow_unload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ktls.sysctl._values, "kern.ipc.tls.allow_unload", 1)


@pytest.fixture
def chacha(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The example, registered."""
    monkeypatch.syspath_prepend(str(scratch))
    backend = importlib.import_module("ktls_chacha").Backend()
    backends.register(backend)
    yield backend
    deregister(backend)


def test_the_wheel_is_for_every_python(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert archive.read(name).decode().split("\n")[:2] == [
            "[ktls.backends]",
            "chacha = ktls_chacha:Backend",
        ]


def test_it_is_found_where_it_is_installed(scratch: Path) -> None:
    program = "from ktls import backends; print([b.name for b in backends.registered()])"
    names = run_with(scratch, program)
    assert names.endswith(", 'chacha-example']")
    assert "chacha" not in run_with(scratch, program, KTLS_SYSCTL="kern.ipc.tls.load_backends=0")


def test_one_that_cannot_be_loaded_is_nobodys_problem(tmp_path: Path) -> None:
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[ktls.backends]\nbroken = no_such_module:Backend\nnone = os:sep\n"
    )
    program = "from ktls import backends; print(len(backends.available()))"
    assert run_with(tmp_path, program) == "3"


def run_with(path: Path, program: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(path), **environment},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize("kind", CHACHA)
@pytest.mark.parametrize(
    ("sealer", "opener"), [("chacha-example", "ring"), ("ring", "chacha-example")]
)
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 16384, 1_000_003])
def test_both_directions_agree_with_another_implementation(
    chacha: Any, tcp_pair: Pair, kind: str, sealer: str, opener: str, size: int
) -> None:
    data = os.urandom(size)
    with both_ends(tcp_pair, kind, sealer=sealer, opener=opener) as (near, far):
        assert carried(near, far, data) == data


def test_it_takes_what_it_says(chacha: Any) -> None:
    provider = backends.provider(chacha)
    assert provider.takes(4, ktls.CRYPTO_CHACHA20_POLY1305, 32)
    assert not provider.takes(4, ktls.CRYPTO_AES_NIST_GCM_16, 32)
    assert not provider.takes(3, ktls.CRYPTO_AES_CBC, 16)
    ktls.sysctl["kern.ipc.tls.backend"] = "chacha-example"
    with pytest.raises(OSError, match="no backend seals") as caught:
        backends.choose(4, ktls.CRYPTO_AES_NIST_GCM_16, 32)
    assert caught.value.errno == errno.EPROTONOSUPPORT


def test_a_false_record(chacha: Any) -> None:
    en = enable_for("tls13_chacha20")
    keys = _core.Keys(en.tls_vminor, en.cipher_algorithm, en.cipher_key, en.iv)
    record = bytearray(_core.Sealer(keys).seal(b"x"))
    opener = _core.Opener(keys, provider=backends.provider(chacha))
    record[7] ^= 4
    with pytest.raises(ktls.BadRecord):
        opener.open(record)
    record[7] ^= 4
    assert opener.open(record) == (23, b"x")


class Capsuled:
    """A capsule around a struct of ``rubbish.c``."""

    api_version = 1
    prio = 1

    def __init__(self, library: ctypes.CDLL, struct: str) -> None:
        self.name = struct
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        self._title = b"ktls.backend.v1"
        address = ctypes.addressof(ctypes.c_char.in_dll(library, struct))
        self.capsule = new(address, self._title, None)


@pytest.fixture(scope="session")
def rubbish(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    library = tmp_path_factory.mktemp("rubbish") / "rubbish.so"
    source = Path(__file__).with_name("rubbish.c")
    include = f"-I{backends.get_include()}"
    subprocess.run(["cc", "-shared", "-fPIC", include, str(source), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


@pytest.mark.parametrize(
    ("struct", "words"),
    [
        ("older", r"version mismatch \(0 vs 1\) for older"),
        ("newer", r"version mismatch \(2 vs 1\) for newer"),
        ("small", "a struct ktls_backend of 24 bytes"),
        ("empty", "lacks a function"),
    ],
)
def test_what_cannot_be_called_is_refused(rubbish: ctypes.CDLL, struct: str, words: str) -> None:
    with pytest.raises(OSError, match=words) as caught:
        backends.register(Capsuled(rubbish, struct))
    assert caught.value.errno == errno.EINVAL


def test_another_capsule_is_refused(rubbish: ctypes.CDLL) -> None:
    backend = Capsuled(rubbish, "lengths")
    backend.capsule = importlib.import_module("datetime").datetime_CAPI
    with pytest.raises(ValueError, match="incorrect name"):
        backends.register(backend)


@pytest.fixture
def bad(rubbish: ctypes.CDLL, request: pytest.FixtureRequest) -> Iterator[str]:
    backend = Capsuled(rubbish, request.param)
    backends.register(backend)
    yield backend.name
    deregister(backend)


@pytest.mark.parametrize("bad", ["lengths", "minus", "denying"], indirect=True)
def test_one_that_returns_rubbish_when_it_seals(bad: str, tcp_pair: Pair) -> None:
    before = ktls.sysctl.number(FAILED)
    with both_ends(tcp_pair, "tls13_gcm", sealer=bad) as (near, far):
        with pytest.raises(OSError, match=f"the backend {bad} failed: seal returned") as caught:
            near.sendall(b"x")
        assert caught.value.errno == errno.EIO
        with pytest.raises(ConnectionResetError):
            far.recv(1)
    assert ktls.sysctl.number(FAILED) == before + 1


@pytest.mark.parametrize("bad", ["lengths", "minus"], indirect=True)
def test_one_that_returns_rubbish_when_it_opens(bad: str, tcp_pair: Pair) -> None:
    before = ktls.sysctl.number(FAILED)
    with both_ends(tcp_pair, "tls13_gcm", opener=bad) as (near, far):
        near.send(b"x")
        with pytest.raises(OSError, match=f"the backend {bad} failed: open returned") as caught:
            far.recv(1)
        assert caught.value.errno == errno.EIO
    assert ktls.sysctl.number(FAILED) == before + 1


@pytest.mark.parametrize("bad", ["refusing"], indirect=True)
def test_one_that_refuses_a_key(bad: str, tcp_pair: Pair) -> None:
    ktls.enable()
    ktls.sysctl["kern.ipc.tls.backend"] = bad
    with ktls.Socket(tcp_pair[0]) as near:
        with pytest.raises(OSError, match="new_session returned 12") as caught:
            near.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, enable_for("tls13_gcm"))
        assert caught.value.errno == errno.EOPNOTSUPP
        assert near.getsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_MODE) == ktls.Mode.NONE


def test_one_that_refuses_the_keys_of_a_handshake_leaves_the_connection_to_openssl(
    rubbish: ctypes.CDLL,
    tcp_pair: Pair,
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
) -> None:
    ktls.enable()
    backend = Capsuled(rubbish, "refusing")
    backends.register(backend)
    ktls.sysctl["kern.ipc.tls.backend"] = "refusing"
    ktls.prepare(server_context)
    with ThreadPoolExecutor(1) as pool:
        client = pool.submit(client_context.wrap_socket, tcp_pair[0], server_hostname="localhost")
        with ktls.wrap_socket(tcp_pair[1], server_context, server_side=True) as server:
            assert server.mode is ktls.Mode.NONE
            assert "new_session returned 12" in server.why
            with client.result() as near:
                server.sendall(b"by OpenSSL")
                assert near.recv(100) == b"by OpenSSL"
    deregister(backend)
