"""The sending half of a `TLSSocket`: the calls that a user makes, each passed on to the writer."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ktls import sendfile
from ktls.byte_view import byte_view

from .parts import Parts

if TYPE_CHECKING:
    from concurrent.futures import Future

    from _typeshed import ReadableBuffer

    from .writer import Writer

__all__ = ["Sending"]


class Sending:
    """Makes the handshake first where it was not made yet."""

    # The writer, once the handshake is settled: the short way.
    _writer: "Writer | None"

    def _ready(self) -> Parts:
        """Return the parts after the handshake, which the first send or receive makes."""
        raise NotImplementedError

    def _connection(self) -> Parts:
        """Return the parts, whatever became of the handshake."""
        raise NotImplementedError

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        """As `ktls.Socket.send`: returns how many bytes were accepted."""
        return (self._writer or self._ready().writer).send(data, flags)

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        """As `ktls.Socket.sendall`."""
        writer = self._writer or self._ready().writer
        if (type(data) is not bytes or not data) and not byte_view(data):
            return
        writer.sendall(data, flags)

    def write(self, data: "ReadableBuffer") -> int:
        """As `send`."""
        return self.send(data)

    def sendmsg(
        self,
        buffers: Iterable["ReadableBuffer"],
        ancdata: Iterable[tuple[int, int, "ReadableBuffer"]] = (),
        flags: int = 0,
    ) -> int:
        """As `ktls.Socket.sendmsg`: buffers as one write, and their record type."""
        return self._ready().writer.sendmsg(list(buffers), list(ancdata), flags)

    def sendfile(self, file: sendfile.Readable, offset: int = 0, count: int | None = None) -> int:
        """As `ktls.Socket.sendfile`: returns how many bytes of the file were accepted."""
        parts = self._ready()
        blocking = parts.socket.gettimeout() != 0
        return sendfile.send_file(parts.writer, file, offset, count, blocking=blocking)

    def aio_write(self, data: "ReadableBuffer") -> "Future[int]":
        """As `ktls.Socket.aio_write`.

        While OpenSSL writes it waits for other writers, and cannot be cancelled.
        """
        return self._ready().writer.aio_write(data)

    def cork(self) -> AbstractContextManager[None]:
        """As `ktls.Socket.cork`; while OpenSSL writes it does nothing."""
        return self._ready().writer.cork()

    def key_update(self, request: bool = False) -> None:
        """Seal what follows with the next keys, and tell the peer; `request` asks it for the same.

        KTLSError before TLS 1.3, or when OpenSSL writes.
        """
        self._ready().writer.key_update(request=request)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until TCP has taken everything that was accepted.  TimeoutError."""
        self._connection().socket.flush(timeout)

    def verify_client_post_handshake(self) -> None:
        """As in SSLSocket: the request goes with the next write or read."""
        parts = self._ready()
        parts.shadow.call(parts.shadow.ssl_object.verify_client_post_handshake)
        parts.writer.expect_answer()
