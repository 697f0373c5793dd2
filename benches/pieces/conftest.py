"""Connections and keys for the benches of single pieces; a debug build is refused."""

import multiprocessing
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import pytest

from harness.machine import require_release
from harness.receiver import drain_one
from ktls import _core, workers
from ktls.constants import CRYPTO_AES_NIST_GCM_16

TLS13 = 4


def pytest_sessionstart() -> None:
    try:
        require_release(_core.BUILD_PROFILE)
    except SystemExit as refusal:
        pytest.exit(str(refusal), returncode=1)


def _keys() -> _core.Keys:
    return _core.Keys(TLS13, CRYPTO_AES_NIST_GCM_16, bytes([7] * 32), bytes([9] * 12))


@contextmanager
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends in this process, without Nagle's delay, under cubic."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    with near, far:
        for sock in (near, far):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield far, near


@pytest.fixture(autouse=True, scope="session")
def _workers() -> None:
    workers.start()


@pytest.fixture
def keys() -> _core.Keys:
    """TLS 1.3 with AES-256-GCM, the default suite of OpenSSL."""
    return _keys()


@pytest.fixture(params=_core.providers())
def provider(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def linked() -> Iterator[tuple[_core.SendStream, socket.socket]]:
    """A keyed stream, and its other end in this process."""
    with tcp_pair() as (near, far):
        stream = _stream(near)
        yield stream, far
        stream.abort()


@pytest.fixture
def drained() -> Iterator[_core.SendStream]:
    """A keyed stream whose other end another process empties."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = multiprocessing.get_context("spawn")
        pipe, theirs = context.Pipe()
        child = context.Process(
            target=drain_one, args=(theirs, server.getsockname()[1]), daemon=True
        )
        child.start()
        near, _ = server.accept()
    with near, pipe:
        stream = _stream(near)
        yield stream
        stream.flush()
        stream.shutdown_write()
        stream.close()
        _end(child, pipe)


def _stream(sock: socket.socket) -> _core.SendStream:
    stream = _core.SendStream(sock)
    stream.install(_core.DirectionKeys(_keys()), _core.RecordParams("ring"), session=None)
    return stream


def _end(child: multiprocessing.process.BaseProcess, pipe: Connection) -> None:
    received = pipe.recv() if pipe.poll(10) else None
    child.join(10)
    if child.is_alive():
        child.kill()
    assert received, "the receiver saw nothing"
