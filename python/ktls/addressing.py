"""What FreeBSD checks of the destination of a write, before it connects to it."""

import errno
import ipaddress
import socket
from typing import Any

from ktls import waiting


def connect_for_send(sock: socket.SocketType, address: Any) -> None:
    """Connect to the destination of a write, unless there is a connection already.

    FreeBSD's order (tcp_usr_send): OSError EAFNOSUPPORT for a multicast address, EACCES for the
    broadcast address, also on a connected socket; then the errors of ``connect``.
    """
    _check_destination(address[0])
    try:
        sock.getpeername()
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        waiting.connect(sock, address)


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
