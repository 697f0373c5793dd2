"""The part of a TLSSocket that any socket has: options, addresses, time-outs."""

import socket
from typing import Any

from ktls.socket import Socket

__all__ = ["SocketFace"]


class SocketFace:
    """Passes everything on to the socket of the moment, a plain one before the peer is there."""

    @property
    def _any_socket(self) -> socket.socket | Socket:
        raise NotImplementedError

    def settimeout(self, value: float | None) -> None:
        """As `socket.settimeout`."""
        self._any_socket.settimeout(value)

    def gettimeout(self) -> float | None:
        """As `socket.gettimeout`."""
        return self._any_socket.gettimeout()

    @property
    def timeout(self) -> float | None:
        """As `socket.timeout`."""
        return self.gettimeout()

    def setblocking(self, flag: bool) -> None:
        """As `socket.setblocking`."""
        self._any_socket.setblocking(flag)

    def getblocking(self) -> bool:
        """As `socket.getblocking`."""
        return self.gettimeout() != 0

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> int | bytes:
        """As `ktls.Socket.getsockopt`."""
        return self._any_socket.getsockopt(level, optname, buflen)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """As `ktls.Socket.setsockopt`."""
        sock: Any = self._any_socket
        if optlen is None:
            sock.setsockopt(level, optname, value)
        else:
            sock.setsockopt(level, optname, value, optlen)

    def getpeername(self) -> Any:
        """As `socket.getpeername`."""
        return self._any_socket.getpeername()

    def getsockname(self) -> Any:
        """As `socket.getsockname`."""
        return self._any_socket.getsockname()

    @property
    def family(self) -> socket.AddressFamily:
        """As `socket.family`."""
        return socket.AddressFamily(self._any_socket.family)

    @property
    def type(self) -> socket.SocketKind:
        """As `socket.type`."""
        return socket.SocketKind(self._any_socket.type)

    @property
    def proto(self) -> int:
        """As `socket.proto`."""
        return self._any_socket.proto
