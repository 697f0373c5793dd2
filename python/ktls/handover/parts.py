"""One connection put together: the socket, OpenSSL beside it, and the handshake."""

import errno
import socket
import ssl

from ktls._core import OpenSSLSide
from ktls.socket import Socket
from ktls.tcp import require_tcp

from .handshake import Handshake

__all__ = ["Parts", "check_arguments", "has_peer"]


class Parts:
    """A connected socket, taken over; nothing was sent yet.  Errors as `SSLContext.wrap_bio`."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None,
        session: ssl.SSLSession | None,
    ) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        # The one that may refuse its arguments comes first: the caller keeps the socket then.
        self.ssl_object = context.wrap_bio(
            incoming,
            outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
            session=session,
        )
        self.socket = Socket(sock)
        self.stream = self.socket._stream
        # The object of the C module: nothing can come into the middle of its calls.
        inner = self.ssl_object._sslobj  # type: ignore[attr-defined]  # the stub leaves it out
        self.side = OpenSSLSide(inner, incoming, outgoing, self.stream, server_side=server_side)
        self.handshake = Handshake(
            self.socket._slot, self.ssl_object, self.side, server_side=server_side
        )

    def close(self) -> None:
        """Close; what was accepted drains in the background."""
        self.side.release_logs()
        self.stream.close(discard=True)


def check_arguments(
    sock: socket.socket,
    context: ssl.SSLContext,
    server_side: bool,
    server_hostname: str | None,
    session: ssl.SSLSession | None,
) -> None:
    """Raise what `SSLContext.wrap_socket` raises; TypeError for anything but a plain socket.

    OSError EBADF for a closed one, EINVAL for one that is not TCP.
    """
    if not isinstance(sock, socket.socket):
        raise TypeError(f"a socket.socket is needed, not {type(sock).__name__}")
    if isinstance(sock, ssl.SSLSocket):
        raise TypeError("an ssl.SSLSocket makes its own handshake: wrap the plain socket")
    if sock.fileno() < 0:
        raise OSError(errno.EBADF, "the socket is closed; pass an open one")
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) != socket.SOCK_STREAM:
        raise NotImplementedError("only stream sockets are supported")
    require_tcp(sock)
    if server_side and server_hostname:
        raise ValueError("server_hostname can only be specified in client mode")
    if server_side and session is not None:
        raise ValueError("session can only be specified in client mode")
    if context.check_hostname and not server_hostname:
        raise ValueError("check_hostname requires server_hostname")


def has_peer(sock: socket.socket) -> bool:
    """Whether the socket is connected."""
    try:
        sock.getpeername()
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        return False
    return True
