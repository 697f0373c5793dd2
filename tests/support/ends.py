"""Both ends of one connection in one process, for tests and for programs that tests start.

Our end is of a *kind*: "SW" (a TLSSocket, this library seals), "NONE" (a TLSSocket, OpenSSL seals),
"KEYED" (a Socket with keys of its own) or "STOCK" (an `ssl.SSLSocket`: what the others are held
against).  The peer is a stock `ssl.SSLSocket`, for "KEYED" a plain socket with a reader of records.
"""

import functools
import os
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest
import trustme

import ktls
from keyed_link import connected, parameters
from record_reader import SUITES, RecordReader, Secrets, read_exactly

TIMEOUT = 30
KINDS = ("SW", "NONE", "KEYED")
TLS_KINDS = ("SW", "NONE")
SMALL = 65536
ENABLE = "kern.ipc.tls.enable"

with_kinds = pytest.mark.parametrize("kind", KINDS)
with_tls_kinds = pytest.mark.parametrize("kind", TLS_KINDS)
with_all_kinds = pytest.mark.parametrize("kind", [*KINDS, "STOCK"])
"""Where `ssl` keeps the promise, too."""


AUTHORITY = trustme.CA()


@functools.cache
def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    # A ticket that a client never reads turns its close into a reset.
    context.num_tickets = 0
    return context


@functools.cache
def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    return context


@functools.cache
def prepared_context(server_side: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    AUTHORITY.configure_trust(context)
    if server_side:
        AUTHORITY.issue_cert("localhost").configure_cert(context)
        context.num_tickets = 0
    return ktls.prepare(context)


class Ends:
    """`own` is under test, `peer` is the other end; `watch` is a descriptor of our kernel socket.

    `watch` shares the open file description with `own`, so it shows flags and what is unread.
    """

    def __init__(
        self, kind: str, own: Any, peer: Any, watch: int, reader: RecordReader | None
    ) -> None:
        self.kind = kind
        self.own = own
        self.peer = peer
        self.watch = watch
        self._reader = reader
        self._unread = b""

    def receive(self) -> bytes:
        """The application data of the next record or read; empty at the end of the stream."""
        if self._reader is None:
            try:
                return self.peer.recv(65536)
            except ssl.SSLEOFError:
                return b""
        header = read_exactly(self.peer, 5)
        if not header:
            return b""
        body = read_exactly(self.peer, int.from_bytes(header[3:], "big"))
        content_type, payload = self._reader.open(header + body)
        # An empty record is not an end.
        return payload if content_type == 23 and payload else self.receive()

    def receive_exactly(self, count: int) -> bytes:
        parts, missing = [self._unread], count - len(self._unread)
        while missing > 0:
            part = self.receive()
            assert part, f"the stream ended {missing} bytes early"
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        self._unread = data[count:]
        return data[:count]

    def receive_all(self) -> bytes:
        """Everything up to the end of the stream."""
        parts = [self._unread]
        while part := self.receive():
            parts.append(part)
        self._unread = b""
        return b"".join(parts)

    def say(self, data: bytes) -> None:
        """From the peer to us."""
        self.peer.sendall(data)

    def reset(self) -> None:
        """The peer ends the connection without a word."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.peer.close()

    def fill(self) -> int:
        """Write until there is no room; the number of bytes that were accepted."""
        timeout = self.own.gettimeout()
        self.own.setblocking(False)
        accepted = 0
        try:
            while True:
                accepted += self.own.send(b"f" * 16384)
        except (BlockingIOError, ssl.SSLWantWriteError):
            pass
        self.own.settimeout(timeout)
        return accepted

    def close(self) -> None:
        self.own.close()
        self.peer.close()
        if self.watch >= 0:
            os.close(self.watch)
            self.watch = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(
    kind: str,
    *,
    small: bool = False,
    space: int = SMALL,
    server_side: bool = True,
    watch: bool = False,
) -> Ends:
    """Both ends of a new connection; `small`: the kernel holds little, and we only `space`."""
    near, far = connected(small=small)
    far.settimeout(TIMEOUT)
    watched = os.dup(near.fileno()) if watch else -1
    if small:
        hold_little(space)
    if kind == "KEYED":
        return keyed(near, far, watched)
    own, peer = handshaken(kind, near, far, server_side)
    return Ends(kind, own, peer, watched, None)


def hold_little(space: int) -> None:
    """Sockets made from now on accept no more than this without sending it."""
    for name in ("sendspace", "sendspace_max"):
        ktls.sysctl[f"kern.ipc.tls.{name}"] = space
    ktls.sysctl["kern.ipc.tls.sendlowat"] = space // 2


def keyed(near: socket.socket, far: socket.socket, watched: int = -1) -> Ends:
    ktls.enable()
    secrets = Secrets(SUITES[3])
    own = ktls.Socket(near)
    own.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
    return Ends("KEYED", own, far, watched, RecordReader(secrets))


def wrap(kind: str, sock: socket.socket, server_side: bool, **options: Any) -> Any:
    """Our end of a TLS connection, of this kind."""
    hostname = None if server_side else "localhost"
    if kind == "STOCK":
        context = server_context() if server_side else client_context()
        return context.wrap_socket(
            sock, server_side=server_side, server_hostname=hostname, **options
        )
    ktls.enable()
    ktls.sysctl[ENABLE] = kind == "SW"
    return ktls.wrap_socket(
        sock,
        prepared_context(server_side),
        server_side=server_side,
        server_hostname=hostname,
        **options,
    )


def handshaken(
    kind: str, near: socket.socket, far: socket.socket, server_side: bool = True
) -> tuple[Any, ssl.SSLSocket]:
    """Our end and a stock peer, after the handshake."""
    with ThreadPoolExecutor(1) as pool:
        peer = pool.submit(wrap, "STOCK", far, not server_side)
        own = wrap(kind, near, server_side)
        other = peer.result(TIMEOUT)
    if kind != "STOCK":
        assert own.mode is ktls.Mode[kind], own.why
    return own, other


class Call(threading.Thread):
    """One call in a thread of its own, and how it ended."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._args = args
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._call(*self._args)
        except BaseException as error:
            self._error = error

    def result(self, timeout: float = TIMEOUT) -> Any:
        """What it returned, or raises what it raised; fails when it waits still."""
        self.join(timeout)
        assert not self.is_alive(), "the call waits still"
        if self._error is not None:
            raise self._error
        return self._value
