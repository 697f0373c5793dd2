"""The server of these tests: takes one upload with a TLSSocket and answers with its hash."""

import hashlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

import ktls

TIMEOUT = 25
BUFFER_SIZE = 256 * 1024
ODD_SIZE = 10_007
"""Of `recv`: records come in parts."""

Reader = Callable[[ktls.TLSSocket, int | None], Iterator[bytes | memoryview]]


@dataclass(frozen=True)
class Upload:
    """What arrived, and by which version of TLS."""

    size: int
    sha256: str
    version: str | None


def require_rx_mode(tls: ktls.TLSSocket) -> None:
    assert tls.mode is ktls.Mode.SW, tls.why
    assert tls.rx_mode is ktls.Mode.SW, tls.rx_why


# -- ways to read: `size` bytes, or all up to the end if that is None ------------------------------


def by_recv_into(tls: ktls.TLSSocket, size: int | None) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(BUFFER_SIZE))
    while room := _room(size, BUFFER_SIZE):
        count = tls.recv_into(buffer[:room])
        if not count:
            return
        yield buffer[:count]
        size = None if size is None else size - count


def by_recv(tls: ktls.TLSSocket, size: int | None) -> Iterator[bytes]:
    while room := _room(size, ODD_SIZE):
        part = tls.recv(room)
        if not part:
            return
        yield part
        size = None if size is None else size - len(part)


def by_makefile(tls: ktls.TLSSocket, size: int | None) -> Iterator[bytes]:
    with tls.makefile("rb") as file:
        while room := _room(size, BUFFER_SIZE):
            part = file.read(room)
            if not part:
                return
            yield part
            size = None if size is None else size - len(part)


def _room(left: int | None, most: int) -> int:
    return most if left is None else min(left, most)


# -- the server ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """One connection: `size` bytes are read, or, if None, all up to the client's close_notify.

    The answer is the SHA-256 in hexadecimal, a newline and close_notify.  An end of TCP in the
    place of the client's close_notify is an error, and so is data behind `size` bytes.
    """

    context: ssl.SSLContext
    reader: Reader
    size: int | None
    answers_end: bool = True
    """Whether the client answers our close_notify with its own."""
    says_end: bool = True
    """Whether we say close_notify."""

    def take_upload(self, listener: socket.socket) -> Upload:
        listener.settimeout(TIMEOUT)
        sock, _ = listener.accept()
        sock.settimeout(TIMEOUT)
        with ktls.wrap_socket(
            sock, self.context, server_side=True, suppress_ragged_eofs=False
        ) as tls:
            upload = receive(tls, self.reader, self.size)
            tls.sendall(upload.sha256.encode() + b"\n")
            if not self.says_end:
                tls.flush(TIMEOUT)
            elif self.answers_end:
                tls.unwrap().close()
            else:
                with pytest.raises(ssl.SSLEOFError):
                    tls.unwrap()
        return upload


def receive(tls: ktls.TLSSocket, reader: Reader, size: int | None) -> Upload:
    """Read what the client sends; we seal and open, before and after."""
    require_rx_mode(tls)
    hashed, count = hashlib.sha256(), 0
    for part in reader(tls, size):
        hashed.update(part)
        count += len(part)
    require_rx_mode(tls)
    return Upload(count, hashed.hexdigest(), tls.version())
