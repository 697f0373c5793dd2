"""Addresses of a ``ktls.Socket``: whatever has nothing to do with what is sent."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ktls.session import Slot


class Addressing:
    """The methods of ``socket.socket`` that bind and connect it."""

    __slots__ = ()

    _sock: socket.socket
    _slot: Slot

    def bind(self, address: Any, /) -> None:
        """As ``socket.bind``."""
        self._sock.bind(address)

    def listen(self, backlog: int = 128, /) -> None:
        """As ``socket.listen``; EINVAL with a session, which belongs to one connection."""
        if self._slot.session is not None:
            raise OSError(
                errno.EINVAL,
                f"the socket has a session ({self._slot.session}) and cannot listen; listen on a"
                " plain socket and enable TLS on those it accepts",
            )
        self._sock.listen(backlog)

    def connect(self, address: Any, /) -> None:
        """As ``socket.connect``; keys may have been installed before, as upstream."""
        self._sock.connect(address)

    def connect_ex(self, address: Any, /) -> int:
        """As ``socket.connect_ex``."""
        return self._sock.connect_ex(address)

    def getpeername(self) -> Any:
        """As ``socket.getpeername``."""
        return self._sock.getpeername()

    def getsockname(self) -> Any:
        """As ``socket.getsockname``."""
        return self._sock.getsockname()

    @property
    def family(self) -> socket.AddressFamily:
        """As ``socket.family``."""
        return socket.AddressFamily(self._sock.family)

    @property
    def type(self) -> socket.SocketKind:
        """As ``socket.type``."""
        return socket.SocketKind(self._sock.type)

    @property
    def proto(self) -> int:
        """As ``socket.proto``."""
        return self._sock.proto

    def _connect_for_send(self, address: Any) -> None:
        """Connect to the destination of a write, unless there is a connection already.

        FreeBSD's order (tcp_usr_send): OSError EAFNOSUPPORT for a multicast address, EACCES for the
        broadcast address, also on a connected socket; then the errors of ``connect``.
        """
        _check_destination(address[0])
        try:
            self._sock.getpeername()
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            self._sock.connect(address)


def _check_destination(host: object) -> None:
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError:
        if host != "<broadcast>":
            return  # A name: connecting finds out.
        address = ipaddress.IPv4Address(socket.INADDR_BROADCAST)
    if address.is_multicast:
        raise OSError(errno.EAFNOSUPPORT, f"{address} is a multicast address; TCP has one peer")
    if int(address) == socket.INADDR_BROADCAST and address.version == 4:
        raise OSError(errno.EACCES, f"{address} is the broadcast address; TCP has one peer")
