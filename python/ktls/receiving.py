"""What a ``ktls.Socket`` reads: the bytes of the peer's TCP as they are.

Opening the peer's records is the application's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer

    from ktls._core import Stream
    from ktls.fragments import Fragmenting


class Receiving:
    """The methods of ``socket.socket`` that receive."""

    __slots__ = ()

    _sock: socket.socket
    _stream: Stream | Fragmenting
    _selectable: bool

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Raw bytes from the kernel, as ``socket.recv``."""
        try:
            return self._sock.recv(bufsize, flags)
        finally:
            if self._selectable:
                self._stream.consumed(False)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0, /) -> int:
        """Raw bytes from the kernel, as ``socket.recv_into``."""
        try:
            return self._sock.recv_into(buffer, nbytes, flags)
        finally:
            if self._selectable:
                self._stream.consumed(False)

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        """Raw bytes from the kernel, as ``socket.recvmsg``."""
        try:
            return self._sock.recvmsg(bufsize, ancbufsize, flags)
        finally:
            if self._selectable:
                self._stream.consumed(False)
