"""One connection put together: the socket, OpenSSL beside it, and the handshake."""

from __future__ import annotations

import errno
import socket
import ssl
import weakref
from typing import TYPE_CHECKING, Any

from ktls._core import OpenSSLSide, takes_byte
from ktls.constants import Mode
from ktls.handover.handshake import Handshake
from ktls.handover.kept import Kept
from ktls.socket import Socket
from ktls.tcp import is_socket, require_open_tcp
from ktls.waiting import require_callback

if TYPE_CHECKING:
    from ktls._core import RecvStream, SendStream
    from ktls.handover.kept import Answers


class Parts:
    """A connected socket, taken over; nothing was sent yet.  Errors as `SSLContext.wrap_bio`."""

    __slots__ = ("answers", "handshake", "receiver", "side", "socket", "stream")

    def __init__(
        self,
        sock: socket.socket | Socket,
        context: ssl.SSLContext,
        *,
        owner: object,
        server_side: bool,
        server_hostname: str | None,
        session: ssl.SSLSession | None,
    ) -> None:
        # The one that may refuse its arguments comes first: the caller keeps the socket then.
        ssl_object, incoming, outgoing = new_ssl_object(
            context, server_side, server_hostname, session
        )
        self.socket = sock if isinstance(sock, Socket) else Socket(sock)
        self.stream = self.socket._stream
        self.stream.untouched = False
        self.stream.set_face(weakref.ref(owner))
        self.receiver = self.socket._receiver
        # The object of the C module: nothing can come into the middle of its calls.
        inner: Any = ssl_object._sslobj  # type: ignore[attr-defined]  # the stub leaves it out
        # Whom callbacks of the context are given.
        inner.owner = owner
        self.answers: Answers = inner
        side = OpenSSLSide(inner, incoming, outgoing, self.stream, server_side=server_side)
        self.side: OpenSSLSide | None = side
        self.handshake = Handshake(self.socket, ssl_object, side, server_side=server_side)

    def shake_hands(self) -> None:
        """Do what is left of the handshake; then let OpenSSL go where nobody needs it."""
        self.handshake.run()
        if not self.handshake.is_done_with_openssl:
            return
        # Another thread may be at it, too: both keep the same, and one lets go after the other.
        ssl_object, side = self.handshake.ssl_object, self.side
        if ssl_object is not None and side is not None:
            kept = Kept(ssl_object)
            side.let_go()
            self.answers = kept
            self.handshake.forget_openssl()
            self.side = None

    @property
    def sealing(self) -> SendStream | None:
        """What seals; None: OpenSSL."""
        return None if self.handshake.mode is Mode.NONE else self.stream

    @property
    def opening(self) -> RecvStream | None:
        """What opens; None: OpenSSL."""
        return None if self.handshake.rx_mode is Mode.NONE else self.receiver

    def openssl(self) -> OpenSSLSide:
        """OpenSSL, which writes or reads on this connection, or is about to."""
        if self.side is None:
            raise RuntimeError("OpenSSL was let go, and something asks for it")
        return self.side

    def verify_client_post_handshake(self) -> None:
        """As in SSLSocket."""
        if isinstance(self.answers, Kept):
            self.answers.verify_client_post_handshake()
        self.openssl().verify_client_post_handshake()

    def close(self) -> None:
        """Close; what was accepted drains in the background."""
        if self.side is not None:
            self.side.release_logs()
        self.socket._close(discard=True)


def new_ssl_object(
    context: ssl.SSLContext,
    server_side: bool,
    server_hostname: str | None,
    session: ssl.SSLSession | None,
) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """OpenSSL's end of a connection, what it reads and what it writes.  Errors as `wrap_bio`."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ssl_object = context.wrap_bio(
        incoming,
        outgoing,
        server_side=server_side,
        server_hostname=server_hostname,
        session=session,
    )
    return ssl_object, incoming, outgoing


def check_arguments(
    sock: socket.socket,
    context: ssl.SSLContext,
    server_side: bool,
    server_hostname: str | bytes | None,
    session: ssl.SSLSession | None,
) -> None:
    """Raise what `SSLContext.wrap_socket` raises; TypeError for anything but a plain socket.

    What behaves like a socket and gives its descriptor by `detach` is one. OSError EBADF for a
    closed one, EINVAL for one that is not TCP; KTLSError where a call that waits would stop the
    loop of gevent or eventlet.
    """
    if not is_socket(sock) and not hasattr(sock, "detach"):
        raise TypeError(f"a socket.socket is needed, not {type(sock).__name__}")
    if isinstance(sock, ssl.SSLSocket):
        raise TypeError("an ssl.SSLSocket makes its own handshake: wrap the plain socket")
    if sock.fileno() < 0:
        raise OSError(errno.EBADF, "the socket is closed; pass an open one")
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) != socket.SOCK_STREAM:
        raise NotImplementedError("only stream sockets are supported")
    require_open_tcp(sock)
    require_callback(sock.gettimeout())
    if server_side and server_hostname:
        raise ValueError("server_hostname can only be specified in client mode")
    if server_side and session is not None:
        raise ValueError("session can only be specified in client mode")
    if context.check_hostname and not server_hostname:
        raise ValueError("check_hostname requires server_hostname")


def has_peer(sock: socket.socket) -> bool:
    """Whether the socket is connected.  OSError for one whose connection has failed already."""
    try:
        sock.getpeername()
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        _require_no_failure(sock)
        return False
    return True


def _require_no_failure(sock: socket.socket) -> None:
    """As `SSLContext.wrap_socket`: a connection that was reset is not one that is to be made."""
    try:
        # Python's own `recv` waits for the time-out of the socket, MSG_DONTWAIT or not.
        unread = takes_byte(sock.fileno())
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.EINVAL):
            raise
        return
    if unread:
        reason = "Closed before TLS handshake with data in recv buffer."
        early = ssl.SSLError(errno.ENOTCONN, reason)
        early.reason = reason
        early.library = None  # type: ignore[assignment]  # as in `ssl` itself
        raise early
