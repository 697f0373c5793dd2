"""`TLSSocket` and `wrap_socket`: an `ssl.SSLSocket` whose records this library seals and opens.

This file keeps `ssl.SSLSocket`'s manners: after the handshake the two streams take what is written
and give what is read, or OpenSSL does.
"""

import errno
import socket
import ssl
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Self

from ktls import futures, sendfile, waiting
from ktls.byte_view import byte_view
from ktls.constants import Mode
from ktls.errors import KTLSError
from ktls.socket import Socket

from .agreed import Agreed, Answers
from .context import prepared
from .makefile import makefile
from .openssl_sender import OpenSSLSender, WantWriteError
from .parts import Parts, check_arguments, has_peer
from .socket_face import SocketFace

if TYPE_CHECKING:
    from concurrent.futures import Future

    from _typeshed import ReadableBuffer, WriteableBuffer

    from ktls._core import OpenSSLSide, RecvStream, SendStream

__all__ = ["TLSSocket", "wrap_socket"]

_ONLY_OURS: Final = 3
"""References to an object that `sys.getrefcount` counts when an attribute and a local are all."""


class TLSSocket(Agreed, SocketFace):
    """Used like `ssl.SSLSocket`; made by `ktls.wrap_socket`, and by `accept` of a listening one.

    `mode` says who seals (`Mode.SW`: this library, `Mode.NONE`: OpenSSL) and `why` gives the reason
    in words when it is OpenSSL; `rx_mode` and `rx_why` say the same of what is received. One thread
    may receive while others send. Unlike in an SSLSocket `fileno` is only good for select, poll and
    epoll, and the plain socket comes back from `unwrap` alone. On a non-blocking socket a call that
    cannot go on raises SSLWantReadError or SSLWantWriteError; the latter is also a BlockingIOError.
    """

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        prepared(context, server_side)
        check_arguments(sock, context, server_side, server_hostname, session)
        self.server_side = server_side
        self.server_hostname = server_hostname
        self.do_handshake_on_connect = do_handshake_on_connect
        self.suppress_ragged_eofs = suppress_ragged_eofs
        self._context = context
        self._session = session
        self._parts: Parts | None = None
        self._plain: socket.socket | None = None
        # What seals, once that is this library: the short way for `send`.
        self._sealing: SendStream | None = None
        # What opens, once that is this library: the short way for `recv`.
        self._opening: RecvStream | None = None
        # What `unwrap` returned, should it not have arrived.
        self._unwrapped: socket.socket | None = None
        # What a closed connection drains through.
        self._draining: SendStream | None = None
        self._io_refs = 0
        self._closing = False
        if not has_peer(sock):
            timeout = sock.gettimeout()
            self._plain = socket.socket(sock.family, sock.type, sock.proto, sock.detach())
            self._plain.settimeout(timeout)
            return
        if do_handshake_on_connect and sock.gettimeout() == 0:
            raise ValueError(
                "do_handshake_on_connect should not be specified for non-blocking sockets"
            )
        self._parts = self._take(sock)
        if do_handshake_on_connect:
            self._handshake_or_close()

    # -- the connection ----------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """Who seals what is sent."""
        return Mode.NONE if self._parts is None else self._parts.handshake.mode

    @property
    def why(self) -> str:
        """Why OpenSSL seals, in words; empty when it does not."""
        return "not connected" if self._parts is None else self._parts.handshake.why

    @property
    def rx_mode(self) -> Mode:
        """Who opens what is received."""
        return Mode.NONE if self._parts is None else self._parts.handshake.rx_mode

    @property
    def rx_why(self) -> str:
        """Why OpenSSL opens, in words; empty when it does not."""
        return "not connected" if self._parts is None else self._parts.handshake.rx_why

    @property
    def backend(self) -> str | None:
        """The name of the backend that seals; None while OpenSSL does."""
        return None if self._parts is None else self._parts.socket.backend

    @property
    def closed(self) -> bool:
        """Whether the connection was closed or given back by `unwrap`."""
        return self._parts is None and self._plain is None

    @property
    def context(self) -> ssl.SSLContext:
        """The context in use; an SNI callback may have changed it.

        May be set to another prepared one before the handshake.
        """
        return self._context if self._answers is None else self._answers.context

    @context.setter
    def context(self, context: ssl.SSLContext) -> None:
        # One that an SNI callback puts in place is prepared when that returns.
        if self._parts is None or not self._parts.handshake.is_under_way:
            prepared(context, self.server_side)
        self._context = context
        if self._answers is not None:
            self._answers.context = context

    @property
    def session(self) -> ssl.SSLSession | None:
        """As `SSLSocket.session`; may be set before the handshake of a client."""
        if self._parts is None:
            return self._session
        self._parts.receiver.hear()
        return self._parts.answers.session

    @session.setter
    def session(self, session: ssl.SSLSession) -> None:
        self._session = session
        if self._answers is not None:
            self._answers.session = session

    @property
    def _answers(self) -> Answers | None:
        return None if self._parts is None else self._parts.answers

    def do_handshake(self, block: bool = False) -> None:
        """As `SSLSocket.do_handshake`; then the keys are taken over, or `why` says why not."""
        parts = self._connection()
        parts.stream.check_process()
        timeout = parts.socket.gettimeout()
        if block and timeout == 0:
            parts.socket.settimeout(None)
        try:
            parts.shake_hands()
        except BlockingIOError:
            raise WantWriteError from None
        finally:
            if block and timeout == 0:
                parts.socket.settimeout(timeout)

    def connect(self, address: Any) -> None:
        """Connect, and make the handshake unless `do_handshake_on_connect` is off."""
        waiting.connect(self._unconnected(), address, self)
        self._after_connect()

    def connect_ex(self, address: Any) -> int:
        """As `connect`, with the errno of a failed connection as the result."""
        result = waiting.connect_ex(self._unconnected(), address, self)
        if result == 0:
            self._after_connect()
        return result

    def listen(self, backlog: int = 128) -> None:
        """As `socket.listen`."""
        self._unconnected().listen(backlog)

    def bind(self, address: Any) -> None:
        """As `socket.bind`."""
        self._unconnected().bind(address)

    def accept(self) -> tuple["TLSSocket", Any]:
        """As `SSLSocket.accept`: a TLSSocket, and the address of the peer."""
        sock, address = waiting.accept(self._unconnected(), self)
        try:
            accepted = TLSSocket(
                sock,
                self._context,
                server_side=True,
                do_handshake_on_connect=self.do_handshake_on_connect,
                suppress_ragged_eofs=self.suppress_ragged_eofs,
            )
        except BaseException:
            sock.close()
            raise
        return accepted, address

    def _after_connect(self) -> None:
        self._connection()
        if self.do_handshake_on_connect:
            self._handshake_or_close()

    def _handshake_or_close(self) -> None:
        try:
            self.do_handshake()
        except BaseException:
            self._really_close()
            raise

    # -- sending -----------------------------------------------------------------------------------

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        """As `ktls.Socket.send`: returns how many bytes were accepted."""
        try:
            sealing = self._sealing or self._sealer()
            if sealing is None:
                _no_flags(flags, "send")
                return self._openssl().write(data, all=False)
            if flags or type(data) is not bytes or not data:
                if not byte_view(data):
                    # As in ssl: the stream would make a record of it.
                    return 0
                return self._connection().socket.send(data, flags)
            return sealing.send(data)
        except BlockingIOError:
            raise WantWriteError from None

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        """As `ktls.Socket.sendall`."""
        try:
            sealing = self._sealing or self._sealer()
            if sealing is None:
                _no_flags(flags, "sendall")
                self._openssl().write(data, all=True)
            elif flags or type(data) is not bytes or not data:
                self._connection().socket.sendall(data, flags)
            else:
                sealing.sendall(data)
        except BlockingIOError:
            raise WantWriteError from None

    def write(self, data: "ReadableBuffer") -> int:
        """As `send`."""
        return self.send(data)

    def sendmsg(
        self,
        buffers: Iterable["ReadableBuffer"],
        ancdata: Iterable[tuple[int, int, "ReadableBuffer"]] = (),
        flags: int = 0,
    ) -> int:
        """As `ktls.Socket.sendmsg`: buffers as one write, and their record type.

        EOPNOTSUPP for a control message while OpenSSL writes.
        """
        parts, controls = list(buffers), list(ancdata)
        if self._sealer() is not None:
            try:
                return self._connection().socket.sendmsg(parts, controls, flags)
            except BlockingIOError:
                raise WantWriteError from None
        if controls:
            raise OSError(
                errno.EOPNOTSUPP,
                "OpenSSL writes on this connection and takes no control messages; see why",
            )
        return self.send(b"".join(map(byte_view, parts)), flags)

    def sendfile(self, file: sendfile.Readable, offset: int = 0, count: int | None = None) -> int:
        """As `ktls.Socket.sendfile`: returns how many bytes of the file were accepted."""
        parts = self._ready()
        sender = OpenSSLSender(parts.openssl()) if self._sealing is None else self._sealing
        blocking = parts.socket.getblocking()
        try:
            return sendfile.send_file(sender, file, offset, count, blocking=blocking)
        except BlockingIOError:
            raise WantWriteError from None

    def aio_write(self, data: "ReadableBuffer") -> "Future[int]":
        """As `ktls.Socket.aio_write`.  While OpenSSL writes it seals here and now."""
        parts = self._ready()
        return futures.write(parts.openssl() if self._sealing is None else self._sealing, data)

    def cork(self) -> AbstractContextManager[None]:
        """As `ktls.Socket.cork`; while OpenSSL writes it does nothing."""
        parts = self._ready()
        parts.stream.check_process()
        return nullcontext() if self._sealing is None else parts.socket.cork()

    def key_update(self, request: bool = False) -> None:
        """Seal what follows with the next keys, and tell the peer; `request` asks it for the same.

        KTLSError before TLS 1.3, or when OpenSSL writes.
        """
        self._ready().stream.check_process()
        if self._sealing is None or self.version() != "TLSv1.3":
            raise KTLSError(
                "a KeyUpdate needs TLS 1.3 and a connection that was taken over (see mode and why)"
            )
        self._sealing.update_key(request=request)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until TCP has taken everything that was accepted before.  TimeoutError."""
        self._connection().socket.flush(timeout)

    def verify_client_post_handshake(self) -> None:
        """As in SSLSocket; the request leaves at once."""
        self._ready().verify_client_post_handshake()

    def _sealer(self) -> "SendStream | None":
        """Return what seals after the handshake; None: OpenSSL."""
        self._ready()
        return self._sealing

    # -- receiving ---------------------------------------------------------------------------------

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As `SSLSocket.recv`: empty at the end of the stream; over the ends of records."""
        if self._opening is not None and buflen > 0 and not flags:
            try:
                return self._opening.recv(buflen)
            except ssl.SSLEOFError:
                if not self.suppress_ragged_eofs:
                    raise
                return b""
        _no_flags(flags, "recv")
        data: bytes = self.read(buflen)
        return data

    def recv_into(
        self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0
    ) -> int:
        """As `SSLSocket.recv_into`: 0 at the end of the stream.

        What lies behind the result may become zeros.
        """
        if self._opening is not None and not nbytes and not flags:
            try:
                return self._opening.recv_into(buffer)
            except ssl.SSLEOFError:
                if not self.suppress_ragged_eofs:
                    raise
                return 0
        _no_flags(flags, "recv_into")
        # Nothing is called with the result: a signal handler may raise at the entry of a function.
        count: int = self.read(nbytes or 0, buffer)
        return count

    def read(self, len: int = 1024, buffer: "WriteableBuffer | None" = None) -> Any:
        """As `SSLSocket.read`: bytes, or with a buffer their number.

        With a buffer `len` is at most its size, which 0 and what is negative stand for.
        """
        parts = self._ready()
        if buffer is not None:
            size = byte_view(buffer).nbytes
            len = min(len, size) if len > 0 else size
        if len <= 0:
            if len < 0:
                raise ValueError(f"cannot read {len} bytes: the size must not be negative")
            return b"" if buffer is None else 0
        try:
            if self._opening is None:
                return parts.openssl().read(len, buffer)
            if buffer is None:
                return self._opening.recv(len)
            return self._opening.recv_into(buffer, len)
        except ssl.SSLEOFError:
            if not self.suppress_ragged_eofs:
                raise
            return b"" if buffer is None else 0

    def pending(self) -> int:
        """As `SSLSocket.pending`: bytes that `recv` returns without looking at the socket."""
        if self._opening is not None:
            return self._opening.pending
        answers = self._answers
        return answers.pending() if isinstance(answers, ssl.SSLObject) else 0

    # -- the end -----------------------------------------------------------------------------------

    def unwrap(self) -> socket.socket:
        """End TLS with close_notify both ways and return the plain socket, closing this one.

        Errors as `SSLSocket.unwrap`; after one of them it may be called again.
        """
        if self._parts is None:
            unwrapped = self._unwrapped
            if unwrapped is not None and sys.getrefcount(unwrapped) == _ONLY_OURS:
                # A signal handler raised before it reached the caller.
                return unwrapped
            raise ValueError(f"No SSL wrapper around {self!r}")
        parts = self._ready()
        try:
            if not parts.stream.is_released:
                (parts.openssl() if self._opening is None else self._opening).unwrap()
            plain = parts.socket._release()
        except BlockingIOError:
            raise WantWriteError from None
        self._unwrapped = plain
        self._parts = self._sealing = self._opening = None
        return plain

    def shutdown(self, how: int) -> None:
        """As `socket.shutdown`, after everything accepted; like SSLSocket without close_notify."""
        self._connection().socket.shutdown(how)

    def close(self) -> None:
        """Close, like SSLSocket without close_notify; what was accepted is sent in the background.

        While a file of `makefile` is open the connection stays.
        """
        self._closing = True
        if self._io_refs <= 0:
            self._really_close()

    def detach(self) -> int:
        """Refused while connected: what is written to the descriptor would leave in clear text."""
        if self._plain is not None:
            plain, self._plain = self._plain, None
            return plain.detach()
        self._connection().stream.check_process()
        raise KTLSError(
            "the descriptor of a TLS connection is not handed out; unwrap() ends TLS and gives it"
        )

    def _really_close(self) -> None:
        parts, plain = self._parts, self._plain
        # Closed first: a signal handler that raises leaves a closed connection, not a dropped one.
        if parts is not None:
            self._draining = parts.stream
            parts.close()
        if plain is not None:
            plain.close()
        self._parts = self._plain = self._unwrapped = None
        self._sealing = self._opening = None

    def abort(self) -> None:
        """As `ktls.Socket.abort`: reset the connection and drop what was accepted.

        Also after `close`, while that drains.
        """
        stream = self._draining if self._parts is None else self._parts.stream
        if stream is not None:
            stream.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the socket --------------------------------------------------------------------------------

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """As `socket.makefile`."""
        file = makefile(self, mode, buffering, encoding, errors, newline)
        self._io_refs += 1
        return file

    def _decref_socketios(self) -> None:
        """Called by the files of `makefile` when they are closed."""
        self._io_refs -= 1
        if self._closing and self._io_refs <= 0:
            self._really_close()

    def fileno(self) -> int:
        """A descriptor for select, poll and epoll only, -1 when closed; `connect` changes it."""
        if self._parts is not None:
            descriptor = self._parts.socket.fileno()
            side = self._parts.side
            if self._opening is None and side is not None and side.has_more():
                self._parts.stream.set_readable(True)
            return descriptor
        return -1 if self._plain is None else self._plain.fileno()

    def __repr__(self) -> str:
        if self.closed:
            return "<ktls.TLSSocket closed>"
        role = "server" if self.server_side else "client"
        if self._parts is None:
            return f"<ktls.TLSSocket {role}, not connected>"
        cipher = self.cipher()
        agreed = f", {self.version()}, {cipher[0]}" if cipher else ""
        modes = f"mode={self.mode.name}{_in_brackets(self.why)}"
        if self.mode is not self.rx_mode:
            modes += f", rx_mode={self.rx_mode.name}{_in_brackets(self.rx_why)}"
        return f"<ktls.TLSSocket {role}{agreed}, {modes}>"

    # -- which of its lives it is in ---------------------------------------------------------------

    def _ready(self) -> Parts:
        """Return the parts after the handshake, which the first send or receive makes."""
        parts = self._parts
        if parts is None:
            parts = self._connection()
        if self._sealing is None:
            parts.shake_hands()
            if parts.handshake.rx_mode is not Mode.NONE:
                self._opening = parts.receiver
            if parts.handshake.mode is not Mode.NONE:
                self._sealing = parts.stream
        return parts

    def _openssl(self) -> "OpenSSLSide":
        return self._ready().openssl()

    def _connection(self) -> Parts:
        if self._parts is None:
            self._parts = self._take(self._connected_plain())
            self._plain = None
        return self._parts

    def _take(self, sock: socket.socket) -> Parts:
        return Parts(
            sock,
            self._context,
            owner=self,
            server_side=self.server_side,
            server_hostname=self.server_hostname,
            session=self._session,
        )

    def _connected_plain(self) -> socket.socket:
        plain = self._unconnected()
        plain.getpeername()  # ENOTCONN until there is one
        return plain

    def _unconnected(self) -> socket.socket:
        if self._plain is None:
            if self._parts is not None:
                raise OSError(errno.EISCONN, "the socket is connected already")
            raise OSError(errno.EBADF, "the socket is closed")
        return self._plain

    @property
    def _any_socket(self) -> socket.socket | Socket:
        return self._unconnected() if self._parts is None else self._parts.socket


def wrap_socket(
    sock: socket.socket,
    context: ssl.SSLContext,
    server_side: bool = False,
    do_handshake_on_connect: bool = True,
    suppress_ragged_eofs: bool = True,
    server_hostname: str | None = None,
    session: ssl.SSLSession | None = None,
) -> TLSSocket:
    """As `SSLContext.wrap_socket`, for a context that `ktls.prepare` has seen.

    `sock` is taken over and closed; a listening socket gives a TLSSocket whose `accept` wraps what
    it accepts, and an unconnected one makes the handshake in `connect`.

    Errors as `SSLContext.wrap_socket`; HandoverError when the context was not prepared or was
    changed since, and OSError EINVAL for a socket that is not TCP. Before any of those nothing is
    sent, and `sock` stays as it was.
    """
    return TLSSocket(
        sock,
        context,
        server_side=server_side,
        do_handshake_on_connect=do_handshake_on_connect,
        suppress_ragged_eofs=suppress_ragged_eofs,
        server_hostname=server_hostname,
        session=session,
    )


def _in_brackets(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _no_flags(flags: int, name: str) -> None:
    if flags:
        raise ValueError(
            f"non-zero flags not allowed in calls to {name}() on a TLSSocket: {flags:#x}"
        )
