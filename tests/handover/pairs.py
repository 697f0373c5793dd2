"""Two ends of a TLS connection in one process: ours, and a stock `ssl.SSLSocket` as the peer."""

import os
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from ktls import Mode, TLSSocket, wrap_socket

TIMEOUT = 20
SIZES = (1, 2, 500, 16384, 16385, 100_000)

Pair = tuple[TLSSocket, ssl.SSLSocket]


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near.settimeout(TIMEOUT)
    far.settimeout(TIMEOUT)
    return near, far


@contextmanager
def pair(
    ours: ssl.SSLContext,
    theirs: ssl.SSLContext,
    *,
    server_side: bool,
    session: ssl.SSLSession | None = None,
    hostname: str = "localhost",
) -> Iterator[Pair]:
    """Both ends after the handshake; `session` is that of the client, whoever it is."""
    near, far = tcp_pair()
    client: dict[str, Any] = {"server_hostname": hostname, "session": session}
    server: dict[str, Any] = {"server_side": True}
    with ThreadPoolExecutor(1) as pool:
        peer = pool.submit(theirs.wrap_socket, far, **(client if server_side else server))
        try:
            own = wrap_socket(near, ours, **(server if server_side else client))
        except BaseException:
            near.close()
            with suppress(OSError):
                peer.result().close()
            far.close()
            raise
        other = peer.result(TIMEOUT)
    with own, other:
        yield own, other


def receive(sock: TLSSocket | ssl.SSLSocket, count: int) -> bytes:
    parts = []
    while count:
        part = sock.recv(min(count, 65536))
        assert part, f"the stream ended {count} bytes early"
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def exchange(own: TLSSocket, other: ssl.SSLSocket, sizes: tuple[int, ...] = SIZES) -> None:
    """Data of these sizes, both ways, one after the other."""
    for size in sizes:
        data = os.urandom(size)
        own.sendall(data)
        assert receive(other, size) == data
        other.sendall(data[::-1])
        assert receive(own, size) == data[::-1]


def assert_ours(own: TLSSocket) -> None:
    assert own.why == ""
    assert own.mode is Mode.SW


def sequence(own: TLSSocket) -> int:
    """Number of the next record that this library will make."""
    return own._parts.socket._stream.sequence


def end(own: TLSSocket, other: ssl.SSLSocket) -> None:
    """close_notify both ways; without it OpenSSL forgets a session that is not in a ticket."""
    with ThreadPoolExecutor(1) as pool:
        peer = pool.submit(other.unwrap)
        own.unwrap().close()
        peer.result(TIMEOUT).close()
