"""Which sockets can be taken over, and how the ends of one are shown."""

import errno
import socket
import ssl
import sys
from typing import Any, Final

_SOCKET: Final = socket.socket
"""The class before anybody patches it, or after that."""


def is_socket(sock: object) -> bool:
    """Whether `sock` is a ``socket.socket``, or what gevent or eventlet has for one."""
    greens: list[Any] = [
        getattr(sys.modules.get("gevent._socket3"), "socket", None),
        getattr(sys.modules.get("eventlet.greenio.base"), "GreenSocket", None),
    ]
    return isinstance(sock, (_SOCKET, socket.socket, *filter(None, greens)))


def require_tcp(sock: Any) -> None:
    """Raise what ``Socket`` documents unless `sock` is an open, plain TCP socket."""
    if isinstance(sock, ssl.SSLSocket):
        raise TypeError(
            "an ssl.SSLSocket keeps its keys to itself; use ktls.prepare(context) and"
            " ktls.wrap_socket(sock, context) instead of context.wrap_socket(sock)"
        )
    if not is_socket(sock):
        raise TypeError(f"ktls.Socket takes a socket.socket, not {type(sock).__name__}")
    require_open_tcp(sock)


def require_open_tcp(sock: socket.socket) -> None:
    """The same of what behaves like a socket."""
    if sock.fileno() < 0:
        raise OSError(errno.EBADF, "the socket is closed; pass an open one")
    proto = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
    if (
        sock.family not in (socket.AF_INET, socket.AF_INET6)
        or sock.type != socket.SOCK_STREAM
        or proto != socket.IPPROTO_TCP
    ):
        raise OSError(
            errno.EINVAL,
            f"not a TCP socket: {_name(sock.family)}, {_name(sock.type)}, protocol {proto};"
            " pass one of AF_INET or AF_INET6 and SOCK_STREAM",
        )


def _name(value: object) -> str:
    return str(getattr(value, "name", value))


def ends(sock: socket.SocketType) -> str:
    """Both addresses for a repr; one where there is no peer."""
    local = f"laddr={sock.getsockname()}"
    try:
        return f"{local} raddr={sock.getpeername()}"
    except OSError:
        return local
