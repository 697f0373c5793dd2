"""`TLSSocket`: an `ssl.SSLSocket` whose records this library seals and opens.

This file keeps the manners of `ssl.SSLSocket`.  The base object never has a descriptor: what is
inherited and not replaced here asks `_sslobj`, or fails with EBADF.  After the handshake the two
streams take what is written and give what is read, or OpenSSL does.
"""

from __future__ import annotations

import errno
import socket
import ssl
import sys
import threading
import warnings
from contextlib import AbstractContextManager, nullcontext
from operator import index
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, overload

from ktls import futures, sendfile, waiting
from ktls._core import adopt
from ktls.byte_view import byte_view
from ktls.constants import Mode
from ktls.errors import KTLSError, WantWriteError
from ktls.handover.context import prepare, prepared
from ktls.handover.kept import Answers, chain_der
from ktls.handover.openssl_sender import OpenSSLSender
from ktls.handover.parts import Parts, check_arguments, has_peer, new_ssl_object
from ktls.per_process import PerProcess
from ktls.socket import Socket

if TYPE_CHECKING:
    from _socket import _Address, _RetAddress
    from collections.abc import Iterable
    from concurrent.futures import Future

    from _typeshed import ReadableBuffer, WriteableBuffer

    from ktls._core import OpenSSLSide, RecvStream, SendStream
    from ktls.params import TLSEnable

_ONLY_OURS: Final = 3
"""References to an object that `sys.getrefcount` counts when an attribute and a local are all."""

_MAX_LEN: Final = sys.maxsize

# Not as an IntFlag, whose complement has known flags alone.
_SEND_FLAGS: Final = int(socket.MSG_MORE | socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
"""What `send` takes where this library seals."""

_taking = PerProcess(threading.RLock)
"""Held while a socket is taken over: two threads may use a connection first at the same time."""


if TYPE_CHECKING:
    _SSLSocket = ssl.SSLSocket
else:
    # Its methods are replaced one by one: gevent's and eventlet's have others.
    _SSLSocket = waiting.original_ssl_socket()


class TLSSocket(_SSLSocket):
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
    # The base is gevent's where that was patched in before `ssl` was imported: it has none inside.
    _sock: Final = None
    # Plain while it listens, and until it is used first: a forked child may be the one that does.
    _held: socket.socket | Socket
    _parts: Parts | None
    # `close` has begun.
    _is_ended: bool
    # What seals, once that is this library: the short way for `send`.
    _sealing: SendStream | None
    # What opens, once that is this library: the short way for `recv`.
    _opening: RecvStream | None
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
            raise TypeError("an ssl.SSLContext is needed, not None")
        prepared(context, server_side)
        check_arguments(sock, context, server_side, server_hostname, session)
        try:
            # Encodes by IDNA.
            name: str | None = context._encode_hostname(server_hostname)  # type: ignore[attr-defined]  # the stub leaves it out
        except ValueError:
            # `ssl` has taken it over by then.
            sock.close()
            raise
        is_connected = has_peer(sock)
        if is_connected:
            # A TypeError now, not at the handshake.
            index(server_side)
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
        self._closed = self._is_ended = False
        self._parts = self._sealing = self._opening = self._unwrapped = None
        if not isinstance(sock, socket.socket):
            # It behaves like one: `ssl` takes that, too.
            sock = adopt(sock)
        self._held = sock
        if shakes_hands:
            try:
                self._connection()
            except BaseException:
                # Refused: the caller keeps the socket.
                del self._held
                raise
            self._handshake_or_close()
        else:
            self._held = adopt(sock)
        return self

    # -- the connection ----------------------------------------------------------------------------

    @property
    def _socket(self) -> socket.socket | Socket:
        """The socket, plain again in a forked child whose parent only asked for `fileno`."""
        held = self._held
        if self._parts is None and isinstance(held, Socket) and held._stream.is_inheritable:
            with _taking():
                if held is self._held:
                    self._held = held._inherit()
                held = self._held
        return held

    @property
    def mode(self) -> Mode:
        """Who seals what is sent."""
        parts = self._parts
        return Mode.NONE if parts is None else parts.handshake.mode

    @property
    def why(self) -> str:
        """Why OpenSSL seals, in words; empty when it does not."""
        parts = self._parts
        return self._why_not_begun() if parts is None else parts.handshake.why

    @property
    def rx_mode(self) -> Mode:
        """Who opens what is received."""
        parts = self._parts
        return Mode.NONE if parts is None else parts.handshake.rx_mode

    @property
    def rx_why(self) -> str:
        """Why OpenSSL opens, in words; empty when it does not."""
        parts = self._parts
        return self._why_not_begun() if parts is None else parts.handshake.rx_why

    def _why_not_begun(self) -> str:
        if self.closed:
            return "closed"
        return "the handshake is not finished" if self._connected else "not connected"

    @property
    def backend(self) -> str | None:
        """The name of the backend that seals; None while OpenSSL does."""
        parts = self._parts
        return None if parts is None else parts.socket.backend

    @property
    def closed(self) -> bool:
        """Whether the connection was closed or given back by `unwrap`."""
        sock = self._held
        return sock._stream.closed if isinstance(sock, Socket) else sock.fileno() < 0

    @property
    def context(self) -> ssl.SSLContext:
        """The context in use; an SNI callback may have changed it.

        May be set to another one, which is prepared, before the handshake; it changes little later.
        """
        parts = self._parts
        context: ssl.SSLContext = self._context if parts is None else parts.answers.context
        return context

    @context.setter
    def context(self, context: ssl.SSLContext) -> None:
        # One that an SNI callback puts in place is prepared when that returns.
        parts = self._parts
        if parts is None or not parts.handshake.has_begun:
            prepare(context)
        self._context = context
        if parts is not None:
            parts.answers.context = context

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session of a client, to resume later; None where there is none.

        May be set before the handshake; ValueError after it, and for a server.
        """
        parts = self._parts
        if parts is None:
            return self._wanted_session
        parts.receiver.hear()
        session: ssl.SSLSession | None = parts.answers.session
        return session

    @session.setter
    def session(self, session: ssl.SSLSession | None) -> None:
        self._wanted_session = session
        parts = self._parts
        if parts is not None:
            parts.answers.session = session

    @property
    def _sslobj(self) -> Answers:
        """Whom the base class asks what was agreed on; None without a connection.

        Looking does not begin a connection: another process may be the one that uses it.
        """
        parts = self._parts
        if parts is not None:
            return parts.answers
        if not self._connected:
            return None
        ssl_object, _, _ = new_ssl_object(
            self._context, self.server_side, self.server_hostname, self._wanted_session
        )
        return ssl_object._sslobj  # type: ignore[attr-defined]  # the stub leaves it out

    def _sslsock(self) -> Self:
        # A context of gevent's asks the socket for the object that an SNI callback is to get.
        return self

    def get_verified_chain(self) -> list[bytes]:
        """The peer's chain up to an authority, each certificate as DER; empty without one.

        As in Python 3.13, in older versions, too. OSError ENOTCONN without a connection.
        """
        self._require_peer()
        return chain_der(self._sslobj.get_verified_chain())

    def get_unverified_chain(self) -> list[bytes]:
        """The certificates that the peer sent, each as DER; empty where it sent none.

        As in Python 3.13, in older versions, too. OSError ENOTCONN without a connection.
        """
        self._require_peer()
        return chain_der(self._sslobj.get_unverified_chain())

    def do_handshake(self, block: bool = False) -> None:
        """Make the handshake; then the keys are taken over, or `why` says why not.

        `block` waits for it also on a non-blocking socket. SSLError, SSLWantReadError,
        SSLWantWriteError, TimeoutError as in SSLSocket; HandoverError where the keys are lost.
        """
        parts = self._connection()
        parts.stream.check_process()
        timeout = parts.socket.gettimeout()
        if block and timeout == 0:
            parts.socket.settimeout(None)
        try:
            parts.shake_hands()
        except BlockingIOError as error:
            raise self._wanted(error) from error.__cause__
        finally:
            if block and timeout == 0:
                parts.socket.settimeout(timeout)

    def connect(self, address: _Address) -> None:
        """Connect, and make the handshake unless `do_handshake_on_connect` is off.

        OSError as `socket.connect`, then as `do_handshake`; ValueError for a server, or connected.
        """
        self._to_be_connected().connect(address)
        self._after_connect()

    def connect_ex(self, address: _Address) -> int:
        """As `connect`, but the errno of a failed connection is returned; 0 is success."""
        result = self._to_be_connected().connect_ex(address)
        if result == 0:
            self._after_connect()
        return result

    def _real_connect(self, address: Any, connect_ex: bool) -> int | None:
        # What a subclass of SSLSocket may replace or call.
        return self.connect_ex(address) if connect_ex else self.connect(address)  # type: ignore[func-returns-value]  # as `ssl`

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

    def bind(self, address: _Address) -> None:
        """Give the socket its own address, as `socket.bind`; OSError EADDRINUSE and the like."""
        self._socket.bind(address)

    def listen(self, backlog: int = 128) -> None:
        """Listen, with room for `backlog` connections; OSError as `socket.listen`.

        Ask for `fileno` afterwards: it is that of the listening socket.
        """
        if isinstance(self._socket, Socket) and not self._connected:
            self._held = self._socket._release()
        self._socket.listen(backlog)

    def accept(self) -> tuple[TLSSocket, _RetAddress]:
        """Return a TLSSocket for the next connection, and the address of the peer.

        With `do_handshake_on_connect` its handshake is made here. OSError EINVAL unless the socket
        listens; BlockingIOError, TimeoutError.
        """
        if isinstance(self._socket, Socket):
            self._require_descriptor()
            raise OSError(errno.EINVAL, "the socket does not listen")
        sock, address = waiting.accept(self._socket, self)
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

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """Accept as much of `data` as there is room for; returns how many bytes, 0 for none.

        SSLWantWriteError when nothing was accepted, OSError EPIPE after `shutdown`; flags as
        `ktls.Socket.send`, ValueError for others, and for any while OpenSSL writes.
        """
        try:
            sealing = self._sealing or self._sealer()
            if flags:
                _no_flags(flags, "send", but=_SEND_FLAGS if sealing else 0)
            if sealing is None:
                return self._openssl().write(data, all=False)
            if flags or type(data) is not bytes or not data:
                if not byte_view(data):
                    # As in ssl: the stream would make a record of it.
                    return 0
                return self._connection().socket.send(data, flags)
            return sealing.send(data)
        except BlockingIOError as error:
            raise self._wanted(error, flags) from error.__cause__

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """Accept all of `data`, waiting for room; errors as `send`, perhaps after a part."""
        try:
            sealing = self._sealing or self._sealer()
            if flags:
                _no_flags(flags, "sendall", but=_SEND_FLAGS if sealing else 0)
            if sealing is None:
                self._openssl().write(data, all=True)
            elif flags or type(data) is not bytes or not data:
                self._connection().socket.sendall(data, flags)
            else:
                sealing.sendall(data)
        except BlockingIOError as error:
            raise self._wanted(error, flags) from error.__cause__

    def write(self, data: ReadableBuffer) -> int:
        """As `send`: returns how many bytes were accepted; ValueError when closed."""
        self._require_open("Write")
        return self.send(data)

    def sendmsg(  # type: ignore[override]  # `ssl` refuses it
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
        flags: int = 0,
        address: Any = None,
    ) -> int:
        """As `ktls.Socket.sendmsg`: buffers as one write, and their record type.

        EOPNOTSUPP for a control message while OpenSSL writes; NotImplementedError, as in SSLSocket,
        for an address.
        """
        if address is not None:
            raise NotImplementedError("sendmsg to an address not allowed on instances of TLSSocket")
        parts, controls = list(buffers), list(ancdata)
        if self._sealer() is not None:
            try:
                return self._connection().socket.sendmsg(parts, controls, flags)
            except BlockingIOError as error:
                raise self._wanted(error, flags) from error.__cause__
        if controls:
            raise OSError(
                errno.EOPNOTSUPP,
                "OpenSSL writes on this connection and takes no control messages; see why",
            )
        return self.send(b"".join(map(byte_view, parts)), flags)

    def sendfile(self, file: sendfile.Readable, offset: int = 0, count: int | None = None) -> int:
        """Send a binary file from `offset` on; returns how many bytes of it were accepted.

        `count` bytes, or up to its end. ValueError for a text file or a `count` that is not
        positive, OSError as `send`.
        """
        parts = self._ready()
        sender = parts.sealing or OpenSSLSender(parts.openssl())
        blocking = parts.socket.getblocking()
        try:
            return sendfile.send_file(sender, file, offset, count, blocking=blocking)
        except BlockingIOError as error:
            raise self._wanted(error) from error.__cause__

    # The base class has one way by `send` and one by the descriptor.
    _sendfile_use_send = _sendfile_use_sendfile = sendfile

    def aio_write(self, data: ReadableBuffer) -> Future[int]:
        """Accept all of `data` without waiting; the future ends with the count that TCP has taken.

        Or with the error of the connection. While OpenSSL writes it seals here and now. OSError as
        `send`.
        """
        parts = self._ready()
        return futures.write(parts.sealing or parts.openssl(), data)

    def cork(self) -> AbstractContextManager[None]:
        """Return a context in which small writes share records; see `ktls.Socket.cork`.

        It does nothing while OpenSSL writes. OSError as `send`.
        """
        parts = self._ready()
        parts.stream.check_process()
        return nullcontext() if parts.sealing is None else parts.socket.cork()

    def key_update(self, request: bool = False) -> None:
        """Seal what follows with the next keys, and tell the peer; `request` asks it for the same.

        KTLSError before TLS 1.3, or when OpenSSL writes.
        """
        parts = self._ready()
        parts.stream.check_process()
        if parts.sealing is None or self.version() != "TLSv1.3":
            raise KTLSError(
                "a KeyUpdate needs TLS 1.3 and a connection that was taken over (see mode and why)"
            )
        parts.sealing.update_key(request=request)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until TCP has taken everything that was accepted before.  TimeoutError."""
        parts = self._parts
        if parts is None:
            # Nothing was accepted.
            self._require_peer()
        else:
            parts.socket.flush(timeout)

    def verify_client_post_handshake(self) -> None:
        """Ask the client for a certificate, in TLS 1.3; the request leaves at once.

        SSLError where the client did not offer it, in another version, and for a client.
        """
        self._require_wrapped()
        self._ready().verify_client_post_handshake()

    def _sealer(self) -> SendStream | None:
        """Return what seals after the handshake; None: OpenSSL."""
        return self._ready().sealing

    # -- receiving ---------------------------------------------------------------------------------

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Return at most `buflen` bytes, over the ends of records; empty at the end of the stream.

        SSLWantReadError, TimeoutError, SSLError; ValueError for flags.
        """
        opening = self._opening
        if opening is not None and buflen > 0 and not flags:
            try:
                return opening.recv(buflen)
            except ssl.SSLEOFError:
                if not self.suppress_ragged_eofs:
                    raise
                return b""
        _no_flags(flags, "recv")
        return self._read(buflen, None)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        """Receive at most `nbytes` into `buffer`; returns how many, 0 at the end of the stream.

        Errors as `recv`. What lies behind the result may become zeros.
        """
        opening = self._opening
        if opening is not None and not nbytes and not flags and buffer is not None:
            try:
                return opening.recv_into(buffer)
            except ssl.SSLEOFError:
                if not self.suppress_ragged_eofs:
                    raise
                return 0
        _no_flags(flags, "recv_into")
        if buffer is None:
            # As `ssl`, which then returns bytes.
            return self._read(1024 if nbytes is None else nbytes, None)
        # Nothing is called with the result: a signal handler may raise at the entry of a function.
        return self._read(nbytes or 0, buffer)

    @overload  # type: ignore[override]  # the stub says bytes where a buffer is given, too
    def read(self, len: int = 1024, buffer: None = None) -> bytes: ...
    @overload
    def read(self, len: int, buffer: WriteableBuffer) -> int: ...
    @overload
    def read(self, len: int = 1024, *, buffer: WriteableBuffer) -> int: ...

    def read(self, len: int = 1024, buffer: WriteableBuffer | None = None) -> bytes | int:
        """Return bytes, or with a buffer their number; errors as `recv`, ValueError when closed.

        With a buffer `len` is at most its size, which 0 and what is negative stand for.
        """
        self._require_open("Read")
        return self._read(len, buffer)

    @overload
    def _read(self, len: int, buffer: None) -> bytes: ...
    @overload
    def _read(self, len: int, buffer: WriteableBuffer) -> int: ...
    @overload
    def _read(self, len: int, buffer: WriteableBuffer | None) -> bytes | int: ...

    def _read(self, len: int, buffer: WriteableBuffer | None) -> bytes | int:
        if not -_MAX_LEN <= len <= _MAX_LEN:
            raise OverflowError(f"cannot read {len} bytes at once: the most is {_MAX_LEN}")
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
            opening = parts.opening
            if opening is None:
                return parts.openssl().read(len, buffer)
            if buffer is None:
                return opening.recv(len)
            return opening.recv_into(buffer, len)
        except ssl.SSLEOFError:
            if not self.suppress_ragged_eofs:
                raise
            return b"" if buffer is None else 0

    def pending(self) -> int:
        """Return how many bytes `recv` returns without looking at the socket."""
        parts = self._parts
        if parts is None:
            return 0
        if (opening := parts.opening) is not None:
            return opening.pending
        count: int = parts.answers.pending() if parts.side is not None else 0
        return count

    # -- what TLS has not --------------------------------------------------------------------------

    def sendto(
        self,
        data: ReadableBuffer,
        flags_or_addr: int | _Address,
        addr: _Address | None = None,
    ) -> NoReturn:
        """Refused, as in SSLSocket; OSError without a connection."""
        self._refuse("sendto")

    def recvfrom(self, buflen: int = 1024, flags: int = 0) -> NoReturn:
        """Refused, as in SSLSocket; OSError without a connection."""
        self._refuse("recvfrom")

    def recvfrom_into(
        self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0
    ) -> NoReturn:
        """Refused, as in SSLSocket; OSError without a connection."""
        self._refuse("recvfrom_into")

    def _refuse(self, name: str) -> NoReturn:
        # EBADF, ENOTCONN: `ssl` asks the kernel, which an address would have connect.
        self._socket.getpeername()
        raise ValueError(f"{name} not allowed on instances of TLSSocket")

    def sendmsg_afalg(self, *args: object, **kwargs: object) -> NoReturn:
        """Refused: it is for sockets of AF_ALG."""
        raise NotImplementedError("sendmsg_afalg not allowed on instances of TLSSocket")

    # -- the end -----------------------------------------------------------------------------------

    def unwrap(self) -> socket.socket:
        """End TLS with close_notify both ways and return the plain socket, closing this one.

        `close` closes the plain socket, too, as in SSLSocket, where it is this object. Errors as
        `SSLSocket.unwrap`; after one of them it may be called again.
        """
        if self._parts is None:
            unwrapped = self._unwrapped
            if unwrapped is not None and sys.getrefcount(unwrapped) == _ONLY_OURS:
                # A signal handler raised before it reached the caller.
                return unwrapped
        self._require_wrapped()
        parts = self._connection()
        if parts.answers.version() is None:
            # OpenSSL says why there is nothing to end: the handshake is not finished.
            parts.openssl().unwrap()
        parts = self._ready()
        try:
            if not parts.stream.is_released:
                (parts.opening or parts.openssl()).unwrap()
            plain = parts.socket._release()
        except BlockingIOError as error:
            raise self._wanted(error) from error.__cause__
        self._unwrapped = plain
        self._parts = self._sealing = self._opening = None
        self._connected = False
        return plain

    def shutdown(self, how: int) -> None:
        """End one side or both (`SHUT_WR`, ...), after everything accepted.

        Like SSLSocket without close_notify. OSError EINVAL for another `how`, ENOTCONN.
        """
        self._socket.shutdown(how)

    def _real_close(self) -> None:
        """Like SSLSocket without close_notify; what was accepted is sent in the background."""
        # `SSLSocket.unwrap` returns the same object: programs drop that, and close this one.
        if self._unwrapped is not None:
            self._unwrapped.close()
        # Before anything is looked at: another thread may take the socket over at this moment.
        self._is_ended = True
        # Closed first: a signal handler that raises leaves a closed connection, not a dropped one.
        parts = self._parts
        if parts is not None:
            parts.close()
        else:
            self._held.close()
        self._connected = False
        self._parts = self._unwrapped = self._sealing = self._opening = None

    def __del__(self) -> None:
        sock = getattr(self, "_held", None)
        if warnings is None:
            # The end of the interpreter empties modules.
            return
        # The engine's socket warns itself; of a plain one nobody would know whose it was.
        if isinstance(sock, socket.socket) and sock.fileno() >= 0:
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
            finally:
                sock.close()

    def abort(self) -> None:
        """As `ktls.Socket.abort`: reset the connection and drop what was accepted.

        Also after `close`, while that drains.
        """
        if isinstance(self._socket, Socket):
            self._socket.abort()
        elif self._connected:
            self._taken().abort()

    def detach(self) -> int:
        """Refused while connected: what is written to the descriptor would leave in clear text.

        -1 when closed; after `unwrap` the descriptor of what that returned.
        """
        if self._unwrapped is not None:
            return self._unwrapped.detach()
        if self.closed:
            return -1
        sock = self._socket
        if self._connected:
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
            sock = self._taken()
        descriptor = sock.fileno()
        parts = self._parts
        if parts is not None and parts.opening is None:
            side = parts.side
            if side is not None and side.has_more():
                parts.stream.set_readable(True)
        return descriptor

    def settimeout(self, value: float | None) -> None:
        """Let calls wait so many seconds, with None as long as it takes, with 0 not at all."""
        self._socket.settimeout(value)

    def gettimeout(self) -> float | None:
        """Return how many seconds a call waits; None: as long as it takes."""
        return self._socket.gettimeout()

    @property
    def timeout(self) -> float | None:
        """How many seconds a call waits; None: as long as it takes."""
        return self._socket.gettimeout()

    def setblocking(self, flag: bool) -> None:
        """Let calls wait, or not at all: `settimeout` of None or of 0."""
        self._socket.setblocking(flag)

    def getblocking(self) -> bool:
        """Return whether calls wait."""
        return self._socket.gettimeout() != 0

    @overload
    def getsockopt(self, level: int, optname: int) -> int: ...
    @overload
    def getsockopt(self, level: int, optname: int, buflen: int) -> bytes: ...

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> int | bytes:
        """Return an option as an int, or `buflen` bytes of it; TCP_TXTLS_MODE is a `Mode`.

        OSError ENOPROTOOPT for an unknown one.
        """
        return self._socket.getsockopt(level, optname, buflen)

    @overload
    def setsockopt(
        self, level: int, optname: int, value: int | ReadableBuffer | TLSEnable
    ) -> None: ...
    @overload
    def setsockopt(self, level: int, optname: int, value: None, optlen: int) -> None: ...

    def setsockopt(
        self,
        level: int,
        optname: int,
        value: int | ReadableBuffer | TLSEnable | None,
        optlen: int | None = None,
    ) -> None:
        """Set an option to an int, to bytes, or to `optlen` zeros; OSError as `ktls.Socket`'s."""
        sock: Any = self._socket
        if optlen is None:
            sock.setsockopt(level, optname, value)
        else:
            sock.setsockopt(level, optname, value, optlen)

    def get_inheritable(self) -> bool:
        """Whether an executed program inherits it; never, once the connection is used."""
        if isinstance(self._socket, Socket):
            self._require_descriptor()
            return False
        return self._socket.get_inheritable()

    def set_inheritable(self, inheritable: bool) -> None:
        """As `socket.set_inheritable`; KTLSError for a connection, which is of one process."""
        if not isinstance(self._socket, Socket):
            self._socket.set_inheritable(inheritable)
            return
        self._require_descriptor()
        if inheritable:
            raise KTLSError("a TLS connection cannot be inherited: its keys are in this process")

    def getpeername(self) -> _RetAddress:
        """Return the address of the peer; OSError ENOTCONN, EBADF when closed."""
        return self._socket.getpeername()

    def getsockname(self) -> _RetAddress:
        """Return the socket's own address; OSError EBADF when closed."""
        return self._socket.getsockname()

    @property
    def family(self) -> socket.AddressFamily:
        """The address family, such as AF_INET6."""
        return socket.AddressFamily(self._socket.family)

    @property
    def type(self) -> socket.SocketKind:
        """The kind of socket: SOCK_STREAM."""
        return socket.SocketKind(self._socket.type)

    @property
    def proto(self) -> int:
        """The protocol number of the socket."""
        return self._socket.proto

    def __repr__(self) -> str:
        if self.closed:
            return "<ktls.TLSSocket closed>"
        role = "server" if self.server_side else "client"
        parts = self._parts
        if parts is None:
            return f"<ktls.TLSSocket {role}, {self._why_not_begun()}>"
        cipher = parts.answers.cipher()
        agreed = f", {parts.answers.version()}, {cipher[0]}" if cipher else ""
        modes = f"mode={self.mode.name}{_in_brackets(self.why)}"
        if self.mode is not self.rx_mode:
            modes += f", rx_mode={self.rx_mode.name}{_in_brackets(self.rx_why)}"
        return f"<ktls.TLSSocket {role}{agreed}, {modes}>"

    def _wanted(self, error: BlockingIOError, flags: int = 0) -> OSError:
        """What `ssl` raises on a non-blocking socket: of a handshake it is that already.

        Where the call may wait it is the program's own, out of its wait callback.
        """
        waits = self.gettimeout() != 0 and not flags & socket.MSG_DONTWAIT
        return error if waits or isinstance(error, ssl.SSLError) else WantWriteError()

    # -- which of its lives it is in ---------------------------------------------------------------

    def _ready(self) -> Parts:
        """Return the parts after the handshake, which the first send or receive makes."""
        parts = self._parts
        if parts is None:
            parts = self._connection()
        if self._sealing is None:
            parts.shake_hands()
            self._opening, self._sealing = parts.opening, parts.sealing
        return parts

    def _openssl(self) -> OpenSSLSide:
        return self._ready().openssl()

    def _connection(self) -> Parts:
        """The connection, taken over when it is used first.  OSError ENOTCONN, EBADF."""
        with _taking():
            if self._parts is None:
                self._require_peer()
                parts = Parts(
                    self._socket,
                    self._context,
                    owner=self,
                    server_side=self.server_side,
                    server_hostname=self.server_hostname,
                    session=self._wanted_session,
                )
                self._held, self._parts, self._connected = parts.socket, parts, True
                self._require_not_ended(parts.socket)
            return self._parts

    def _taken(self) -> Socket:
        """The socket, the engine's from here on."""
        with _taking():
            sock = self._socket
            if not isinstance(sock, Socket):
                sock = Socket(sock)
                sock._stream.untouched = self._connected
                self._held = sock
                self._require_not_ended(sock)
            return sock

    def _require_not_ended(self, taken: Socket) -> None:
        # A `close` in another thread has closed what this was taken from, and seen nothing of it.
        if self._is_ended:
            taken.close()
            raise OSError(errno.EBADF, "the socket is closed")

    def _require_peer(self) -> None:
        """OSError ENOTCONN without a connection, EBADF when closed."""
        self._socket.getpeername()

    def _require_descriptor(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, "the socket is closed")

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
    """Return a TLSSocket over `sock`, by a context that `ktls.prepare` has seen.

    `sock` is taken over and closed; a listening socket gives a TLSSocket whose `accept` wraps what
    it accepts, and an unconnected one makes the handshake in `connect`.

    Errors as `SSLContext.wrap_socket`; HandoverError when the context was not prepared, and OSError
    EINVAL for a socket that is not TCP. Before any of those nothing is sent, and `sock` stays as it
    was; a `server_hostname` that IDNA cannot encode closes it, as in `ssl`.
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


def _in_brackets(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _no_flags(flags: Any, name: str, *, but: int = 0) -> None:
    if flags and (not isinstance(flags, int) or flags & ~but):
        raise ValueError(
            f"non-zero flags not allowed in calls to {name}() on a TLSSocket: {flags!r}"
            + (f"; only {socket.MsgFlag(but)!r} are" if but else "")
        )
