"""`TLSSocket`: an `ssl.SSLSocket` whose records this library seals and opens.

This file keeps the manners of `ssl.SSLSocket`.  The base object never has a descriptor: what is
inherited and not replaced here asks `_sslobj`, or fails with EBADF.  After the handshake the two
streams take what is written and give what is read, or OpenSSL does.
"""

import errno
import socket
import ssl
import sys
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from ktls import futures, sendfile
from ktls.byte_view import byte_view
from ktls.constants import Mode
from ktls.errors import KTLSError, WantWriteError
from ktls.handover.context import prepared
from ktls.handover.kept import Answers, chain_der
from ktls.handover.openssl_sender import OpenSSLSender
from ktls.handover.parts import Parts, check_arguments, has_peer, new_ssl_object
from ktls.per_process import PerProcess
from ktls.socket import Socket

if TYPE_CHECKING:
    from concurrent.futures import Future

    from _typeshed import ReadableBuffer, WriteableBuffer

    from ktls._core import OpenSSLSide, RecvStream, SendStream

__all__ = ["TLSSocket", "wrap_socket"]

_ONLY_OURS: Final = 3
"""References to an object that `sys.getrefcount` counts when an attribute and a local are all."""

_taking = PerProcess(threading.RLock)
"""Held while a socket is taken over: two threads may use a connection first at the same time."""


class TLSSocket(ssl.SSLSocket):
    """An `ssl.SSLSocket`; made by a `ktls.SSLContext`, `ktls.wrap_socket`, and by its `accept`.

    `mode` says who seals (`Mode.SW`: this library, `Mode.NONE`: OpenSSL) and `why` gives the reason
    in words when it is OpenSSL; `rx_mode` and `rx_why` say the same of what is received. One thread
    may receive while others send. Unlike in an SSLSocket `fileno` is only good for select, poll and
    epoll, and the plain socket comes back from `unwrap` alone. On a non-blocking socket a call that
    cannot go on raises SSLWantReadError or SSLWantWriteError, which are BlockingIOErrors here.
    """

    do_handshake_on_connect: bool
    suppress_ragged_eofs: bool
    _io_refs: int
    # Plain while it listens, and until it is used first: a forked child may be the one that does.
    _socket: socket.socket | Socket
    _parts: Parts | None
    # What seals, once that is this library: the short way for `send`.
    _sealing: "SendStream | None"
    # What opens, once that is this library: the short way for `recv`.
    _opening: "RecvStream | None"
    # What `unwrap` returned, should it not have arrived.
    _unwrapped: socket.socket | None

    @classmethod
    def _create(
        cls,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> Self:
        """As `SSLSocket._create`, which `SSLContext.wrap_socket` calls."""
        if context is None:
            raise TypeError("a context is needed")
        prepared(context, server_side)
        # Encodes by IDNA.
        name: str | None = context._encode_hostname(server_hostname)  # type: ignore[attr-defined]  # the stub leaves it out
        check_arguments(sock, context, server_side, name, session)
        is_connected = has_peer(sock)
        shakes_hands = is_connected and do_handshake_on_connect
        if shakes_hands and sock.gettimeout() == 0:
            raise ValueError(
                "do_handshake_on_connect should not be specified for non-blocking sockets"
            )
        if not shakes_hands and not server_side:
            # A bad name or session is refused now, not when the connection is there.
            new_ssl_object(context, server_side, name, session)
        self = cls.__new__(cls)
        self.server_side = server_side
        self.server_hostname = name
        self.do_handshake_on_connect = do_handshake_on_connect
        self.suppress_ragged_eofs = suppress_ragged_eofs
        self._context = context
        self._wanted_session = session
        self._connected = is_connected
        self._io_refs = 0
        self._closed = False
        self._parts = self._sealing = self._opening = self._unwrapped = None
        self._socket = sock
        if shakes_hands:
            self._connection()
            self._handshake_or_close()
        else:
            timeout = sock.gettimeout()
            self._socket = socket.socket(sock.family, sock.type, sock.proto, sock.detach())
            self._socket.settimeout(timeout)
        return self

    # -- the connection ----------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """Who seals what is sent."""
        return Mode.NONE if self._parts is None else self._parts.handshake.mode

    @property
    def why(self) -> str:
        """Why OpenSSL seals, in words; empty when it does not."""
        return self._why_not_begun() if self._parts is None else self._parts.handshake.why

    @property
    def rx_mode(self) -> Mode:
        """Who opens what is received."""
        return Mode.NONE if self._parts is None else self._parts.handshake.rx_mode

    @property
    def rx_why(self) -> str:
        """Why OpenSSL opens, in words; empty when it does not."""
        return self._why_not_begun() if self._parts is None else self._parts.handshake.rx_why

    def _why_not_begun(self) -> str:
        return "the handshake has not begun" if self._connected else "not connected"

    @property
    def backend(self) -> str | None:
        """The name of the backend that seals; None while OpenSSL does."""
        return None if self._parts is None else self._parts.socket.backend

    @property
    def closed(self) -> bool:
        """Whether the connection was closed or given back by `unwrap`."""
        sock = self._socket
        return sock._stream.closed if isinstance(sock, Socket) else sock.fileno() < 0

    @property
    def context(self) -> ssl.SSLContext:
        """The context in use; an SNI callback may have changed it.

        May be set to another prepared one before the handshake.
        """
        context: ssl.SSLContext = (
            self._context if self._parts is None else self._parts.answers.context
        )
        return context

    @context.setter
    def context(self, context: ssl.SSLContext) -> None:
        # One that an SNI callback puts in place is prepared when that returns.
        if self._parts is None or not self._parts.handshake.is_under_way:
            prepared(context, self.server_side)
        self._context = context
        if self._parts is not None:
            self._parts.answers.context = context

    @property
    def session(self) -> ssl.SSLSession | None:
        """As `SSLSocket.session`; may be set before the handshake of a client."""
        if self._parts is None:
            return self._wanted_session
        self._parts.receiver.hear()
        session: ssl.SSLSession | None = self._parts.answers.session
        return session

    @session.setter
    def session(self, session: ssl.SSLSession | None) -> None:
        self._wanted_session = session
        if self._parts is not None:
            self._parts.answers.session = session

    @property
    def _sslobj(self) -> Answers:
        """Whom the base class asks what was agreed on; None without a connection."""
        if self._parts is None and self._connected:
            self._connection()
        return None if self._parts is None else self._parts.answers

    def get_verified_chain(self) -> list[bytes]:
        """As `SSLSocket.get_verified_chain` of Python 3.13, in older versions, too."""
        return chain_der(self._connection().answers.get_verified_chain())

    def get_unverified_chain(self) -> list[bytes]:
        """As `SSLSocket.get_unverified_chain` of Python 3.13, in older versions, too."""
        return chain_der(self._connection().answers.get_unverified_chain())

    def do_handshake(self, block: bool = False) -> None:
        """As `SSLSocket.do_handshake`; then the keys are taken over, or `why` says why not."""
        parts = self._connection()
        parts.stream.check_process()
        timeout = parts.socket.gettimeout()
        if block and timeout == 0:
            parts.socket.settimeout(None)
        try:
            parts.shake_hands()
        except BlockingIOError as error:
            raise _want(error) from None
        finally:
            if block and timeout == 0:
                parts.socket.settimeout(timeout)

    def connect(self, address: Any) -> None:
        """Connect, and make the handshake unless `do_handshake_on_connect` is off."""
        self._to_be_connected().connect(address)
        self._after_connect()

    def connect_ex(self, address: Any) -> int:
        """As `connect`, with the errno of a failed connection as the result."""
        result = self._to_be_connected().connect_ex(address)
        if result == 0:
            self._after_connect()
        return result

    def _to_be_connected(self) -> Socket:
        if self.server_side:
            raise ValueError("can't connect in server-side mode")
        if self._connected:
            raise ValueError("attempt to connect already-connected SSLSocket!")
        return self._taken()

    def _after_connect(self) -> None:
        self._connection()
        if self.do_handshake_on_connect:
            self._handshake_or_close()

    def _handshake_or_close(self) -> None:
        try:
            self.do_handshake()
        except BaseException:
            self._real_close()
            raise

    def bind(self, address: Any) -> None:
        """As `socket.bind`."""
        self._socket.bind(address)

    def listen(self, backlog: int = 128) -> None:
        """As `socket.listen`; ask for `fileno` afterwards, it is that of the listening socket."""
        if isinstance(self._socket, Socket) and not self._connected:
            self._socket = self._socket._release()
        self._socket.listen(backlog)

    def accept(self) -> tuple["TLSSocket", Any]:
        """As `SSLSocket.accept`: a TLSSocket, and the address of the peer."""
        if isinstance(self._socket, Socket):
            raise OSError(errno.EINVAL, "the socket does not listen")
        sock, address = self._socket.accept()
        try:
            accepted = type(self)._create(
                sock,
                server_side=True,
                do_handshake_on_connect=self.do_handshake_on_connect,
                suppress_ragged_eofs=self.suppress_ragged_eofs,
                context=self._context,
            )
        except BaseException:
            sock.close()
            raise
        return accepted, address

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
        except BlockingIOError as error:
            raise _want(error) from None

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
        except BlockingIOError as error:
            raise _want(error) from None

    def write(self, data: "ReadableBuffer") -> int:
        """As `send`; ValueError when closed."""
        self._require_open("Write")
        return self.send(data)

    def sendmsg(  # type: ignore[override]  # `ssl` refuses it
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
            except BlockingIOError as error:
                raise _want(error) from None
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
        except BlockingIOError as error:
            raise _want(error) from None

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
        self._require_wrapped()
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
        data: bytes = self._read(buflen, None)
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
        count: int = self._read(nbytes or 0, buffer)
        return count

    def read(self, len: int = 1024, buffer: "WriteableBuffer | None" = None) -> Any:
        """As `SSLSocket.read`: bytes, or with a buffer their number; ValueError when closed.

        With a buffer `len` is at most its size, which 0 and what is negative stand for.
        """
        self._require_open("Read")
        return self._read(len, buffer)

    def _read(self, len: int, buffer: "WriteableBuffer | None") -> Any:
        try:
            # The handshake may be what meets the end.
            parts = self._ready()
            if buffer is not None:
                size = byte_view(buffer).nbytes
                len = min(len, size) if len > 0 else size
            if len <= 0:
                if len < 0:
                    raise ValueError(f"cannot read {len} bytes: the size must not be negative")
                return b"" if buffer is None else 0
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
        parts = self._parts
        if parts is None:
            return 0
        if self._opening is not None:
            return self._opening.pending
        count: int = parts.answers.pending() if parts.side is not None else 0
        return count

    # -- what TLS has not --------------------------------------------------------------------------

    def sendto(self, *args: Any) -> NoReturn:
        """Refused, as in SSLSocket."""
        raise _not_allowed("sendto")

    def recvfrom(self, buflen: int = 1024, flags: int = 0) -> NoReturn:
        """Refused, as in SSLSocket."""
        raise _not_allowed("recvfrom")

    def recvfrom_into(
        self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0
    ) -> NoReturn:
        """Refused, as in SSLSocket."""
        raise _not_allowed("recvfrom_into")

    def sendmsg_afalg(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: it is for sockets of AF_ALG."""
        raise NotImplementedError("sendmsg_afalg not allowed on instances of TLSSocket")

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
        self._require_wrapped()
        parts = self._ready()
        try:
            if not parts.stream.is_released:
                (parts.openssl() if self._opening is None else self._opening).unwrap()
            plain = parts.socket._release()
        except BlockingIOError as error:
            raise _want(error) from None
        self._unwrapped = plain
        self._parts = self._sealing = self._opening = None
        self._connected = False
        return plain

    def shutdown(self, how: int) -> None:
        """As `socket.shutdown`, after everything accepted; like SSLSocket without close_notify."""
        self._socket.shutdown(how)

    def _real_close(self) -> None:
        """Like SSLSocket without close_notify; what was accepted is sent in the background."""
        # Closed first: a signal handler that raises leaves a closed connection, not a dropped one.
        if self._parts is not None:
            self._parts.close()
        else:
            self._socket.close()
        self._connected = False
        self._parts = self._unwrapped = self._sealing = self._opening = None

    def abort(self) -> None:
        """As `ktls.Socket.abort`: reset the connection and drop what was accepted.

        Also after `close`, while that drains.
        """
        if isinstance(self._socket, Socket):
            self._socket.abort()
        elif self._connected:
            self._taken().abort()

    def detach(self) -> int:
        """Refused while connected: what is written to the descriptor would leave in clear text."""
        sock = self._socket
        if isinstance(sock, Socket) or self._connected:
            if isinstance(sock, Socket):
                sock._stream.check_process()
            raise KTLSError(
                "the descriptor of a TLS connection is not handed out; unwrap() ends TLS and"
                " gives it"
            )
        self._closed = True
        return sock.detach()

    # -- the socket --------------------------------------------------------------------------------

    def fileno(self) -> int:
        """A descriptor for select, poll and epoll only, -1 when closed.

        One number from before `connect` to `close`. Writing to it fails (EPIPE, EBADF). While the
        socket listens it is that of the listening socket.
        """
        sock = self._socket
        if not isinstance(sock, Socket):
            if sock.fileno() < 0 or sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return sock.fileno()
            sock = self._connection().socket if self._connected else self._taken()
        descriptor = sock.fileno()
        parts = self._parts
        if self._opening is None and parts is not None:
            side = parts.side
            if side is not None and side.has_more():
                parts.stream.set_readable(True)
        return descriptor

    def settimeout(self, value: float | None) -> None:
        """As `socket.settimeout`."""
        self._socket.settimeout(value)

    def gettimeout(self) -> float | None:
        """As `socket.gettimeout`."""
        return self._socket.gettimeout()

    @property
    def timeout(self) -> float | None:
        """As `socket.timeout`."""
        return self._socket.gettimeout()

    def setblocking(self, flag: bool) -> None:
        """As `socket.setblocking`."""
        self._socket.setblocking(flag)

    def getblocking(self) -> bool:
        """As `socket.getblocking`."""
        return self._socket.gettimeout() != 0

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        """As `ktls.Socket.getsockopt`."""
        return self._socket.getsockopt(level, optname, buflen)

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """As `ktls.Socket.setsockopt`."""
        sock: Any = self._socket
        if optlen is None:
            sock.setsockopt(level, optname, value)
        else:
            sock.setsockopt(level, optname, value, optlen)

    def getpeername(self) -> Any:
        """As `socket.getpeername`."""
        return self._socket.getpeername()

    def getsockname(self) -> Any:
        """As `socket.getsockname`."""
        return self._socket.getsockname()

    @property
    def family(self) -> socket.AddressFamily:
        """As `socket.family`."""
        return socket.AddressFamily(self._socket.family)

    @property
    def type(self) -> socket.SocketKind:
        """As `socket.type`."""
        return socket.SocketKind(self._socket.type)

    @property
    def proto(self) -> int:
        """As `socket.proto`."""
        return self._socket.proto

    def __repr__(self) -> str:
        if self.closed:
            return "<ktls.TLSSocket closed>"
        role = "server" if self.server_side else "client"
        if self._parts is None:
            return f"<ktls.TLSSocket {role}, {self._why_not_begun()}>"
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
        """The connection, taken over when it is used first.  OSError ENOTCONN, EBADF."""
        with _taking():
            if self._parts is None:
                self._socket.getpeername()  # ENOTCONN until there is one
                self._parts = Parts(
                    self._socket,
                    self._context,
                    owner=self,
                    server_side=self.server_side,
                    server_hostname=self.server_hostname,
                    session=self._wanted_session,
                )
                self._socket = self._parts.socket
                self._connected = True
            return self._parts

    def _taken(self) -> Socket:
        """The socket, the engine's from here on."""
        with _taking():
            if not isinstance(self._socket, Socket):
                self._socket = Socket(self._socket)
            return self._socket

    def _require_open(self, verb: str) -> None:
        if self._parts is None and self.closed:
            raise ValueError(f"{verb} on closed or unwrapped SSL socket.")

    def _require_wrapped(self) -> None:
        if self._parts is None and not self._connected:
            raise ValueError(f"No SSL wrapper around {self!r}")


def wrap_socket(
    sock: socket.socket,
    context: ssl.SSLContext,
    server_side: bool = False,
    do_handshake_on_connect: bool = True,
    suppress_ragged_eofs: bool = True,
    server_hostname: str | bytes | None = None,
    session: ssl.SSLSession | None = None,
) -> TLSSocket:
    """As `SSLContext.wrap_socket`, for a context that `ktls.prepare` has seen.

    `sock` is taken over and closed; a listening socket gives a TLSSocket whose `accept` wraps what
    it accepts, and an unconnected one makes the handshake in `connect`.

    Errors as `SSLContext.wrap_socket`; HandoverError when the context was not prepared, and OSError
    EINVAL for a socket that is not TCP. Before any of those nothing is sent, and `sock` stays as it
    was.
    """
    return TLSSocket._create(
        sock,
        server_side=server_side,
        do_handshake_on_connect=do_handshake_on_connect,
        suppress_ragged_eofs=suppress_ragged_eofs,
        server_hostname=server_hostname,
        context=context,
        session=session,
    )


def _want(error: BlockingIOError) -> OSError:
    """What `ssl` raises on a non-blocking socket: of a handshake it is that already."""
    return error if isinstance(error, ssl.SSLError) else WantWriteError()


def _in_brackets(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _no_flags(flags: int, name: str) -> None:
    if flags:
        raise ValueError(
            f"non-zero flags not allowed in calls to {name}() on a TLSSocket: {flags:#x}"
        )


def _not_allowed(name: str) -> ValueError:
    return ValueError(f"{name} not allowed on instances of TLSSocket")
