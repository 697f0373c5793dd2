"""``ktls.Socket``: the socket-like face of a session.

It owns one TCP socket, whose descriptor is the engine's.  Everything written and read goes through
the engine's two streams, before and after the keys are there, so that order is kept and nothing
overtakes.  Options are ``sockopt``, how a file is sent is ``sendfile``, how an asynchronous write
ends ``futures``, who opens what is received ``rx_session``.
"""

from __future__ import annotations

import errno
import socket
import sys
import warnings
import weakref
from operator import index
from typing import TYPE_CHECKING, Any, Self, overload

from ktls import (
    _core,
    addressing,
    cmsg,
    connections,
    forked,
    futures,
    sendfile,
    sockopt,
    tcp,
    waiting,
    workers,
)
from ktls import constants as c
from ktls.byte_view import byte_view
from ktls.rx_session import RxSlot, is_low_water
from ktls.session import Slot

if TYPE_CHECKING:
    import builtins
    from _socket import _CMSG, _Address, _CMSGArg, _RetAddress
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import TypeVar

    from _typeshed import ReadableBuffer, WriteableBuffer

    from ktls.constants import Mode
    from ktls.params import TLSEnable

    T = TypeVar("T")


class Socket:
    """Takes over a TCP socket, connected or fresh, and sends through KTLS once keys are installed.

    The object that was passed in is closed afterwards, and so is its descriptor: the connection
    lives on in another one, so that no one writes clear text through the old number. Its timeout is
    kept. Usable from any thread: records are never torn, and each thread's calls keep their order.
    A ``send`` that returned has been *accepted*: the data may be changed, an error found later is
    raised once by the next call, and ``close`` lets accepted data drain. One descriptor for each
    connection, one more with ``fileno``.

    Raises TypeError for anything but a plain ``socket.socket``, OSError EBADF for a closed one,
    OSError EINVAL for one that is not TCP, EMFILE without a free descriptor, OSError when the
    worker threads cannot be started, KTLSError for one that may wait where gevent or eventlet has
    patched sockets and ``ktls.set_wait_callback`` was not called. In a forked child every call is
    OSError EPERM but ``close`` and ``abort``, which leave the parent's connection alone.
    """

    __slots__ = (
        "__weakref__",
        "_family",
        "_kind",
        "_proto",
        "_receiver",
        "_rx_slot",
        "_slot",
        "_stream",
    )

    def __init__(self, sock: socket.socket, /) -> None:
        if isinstance(sock, Socket):
            raise TypeError("already a ktls.Socket; use it as it is")
        tcp.require_tcp(sock)
        timeout = sock.gettimeout()
        waiting.require_callback(timeout)
        workers.start()
        self._family, self._kind, self._proto = sock.family, sock.type, sock.proto
        stream = _core.SendStream(sock, workers.choose_queue(sock))
        stream.settimeout(timeout)
        stream.set_face(weakref.ref(self))
        self._slot = Slot(stream)
        self._receiver = _core.RecvStream(stream)
        self._rx_slot = RxSlot(self._receiver)
        # Last: a signal handler that raises before leaves an object that owns nothing.
        self._stream = stream
        connections.add(self)
        sock.close()

    # -- keys --------------------------------------------------------------------------------------

    def rekey(self, keys: ReadableBuffer | TLSEnable, /) -> None:
        """Seal everything accepted from now on with other keys; TLS 1.3 only.

        Bytes are the next traffic secret (RFC 8446 7.2): a KeyUpdate that asks for none leaves
        under the old keys, and the new ones begin at record 0. From then on the secret is known,
        and the connection rekeys by itself at ``kern.ipc.tls.records_per_key``. A ``TLSEnable``
        is a change of keys without a word: the program has told the peer. What was accepted
        before, by any thread, keeps its keys. Never waits.

        Raises OSError, and nothing has changed then: EINVAL without a session, for another version
        or cipher, a secret of the wrong length, keys that ever sealed here, renewed ones included;
        EBUSY before TLS 1.3; EPIPE and the like as ``send``.
        """
        self._slot.rekey(keys)

    @property
    def mode(self) -> Mode:
        """Who seals: NONE before the keys are installed, and what is written is clear text then."""
        return self._slot.mode

    @property
    def backend(self) -> str | None:
        """The name of the backend that seals; None without a session."""
        session = self._slot.session
        return None if session is None else session.backend

    @property
    def pending(self) -> int:
        """Bytes accepted and not yet taken by TCP."""
        return self._stream.pending

    def _connection(self, id: int) -> connections.Connection:
        return connections.describe(id, self._stream, self._slot.session, self._rx_slot.session)

    # -- sending -----------------------------------------------------------------------------------

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Accept as much of `data` as there is room for; returns the count.

        What was accepted is never asked for again. Blocking, that is all of it; with a timeout or
        MSG_DONTWAIT perhaps less.  ``bytes`` are referenced, any other buffer is copied.  MSG_MORE
        leaves the last record open for the next write of data (see ``cork``).  Empty data: 0, as
        Python's sockets do (upstream says EINVAL); in TLS 1.0 with AES-CBC a record without data,
        as upstream. From a signal handler in the middle of another write of the same thread it goes
        in between, at the end of a record, as on any socket.

        Raises BlockingIOError or TimeoutError when nothing was accepted, OSError EPIPE after
        ``shutdown``, EINVAL for MSG_EOR, EOPNOTSUPP for flags other than MSG_MORE, MSG_DONTWAIT and
        MSG_NOSIGNAL.
        """
        if flags or type(data) is not bytes or not data:
            flags = cmsg.checked_flags(flags)
            if self._is_nothing(data) and not self._permits_empty_frames():
                return 0
            return self._stream.send(data, c.TLS_RLTYPE_APP, flags)
        return self._stream.send(data)

    @overload
    def sendto(self, data: ReadableBuffer, address: _Address, /) -> int: ...
    @overload
    def sendto(self, data: ReadableBuffer, flags: int, address: _Address, /) -> int: ...

    def sendto(
        self, data: ReadableBuffer, flags_or_address: Any, address: _Address | None = None, /
    ) -> int:
        """As ``socket.sendto``: connects first if need be, then ``send``.

        Raises OSError EAFNOSUPPORT for a multicast and EACCES for the broadcast address, then as
        ``connect`` and ``send``.  The address of a connected socket is not looked at any further.
        """
        flags = 0
        if address is None:
            address = flags_or_address
        else:
            flags = cmsg.checked_flags(flags_or_address)
        self._connect(lambda sock: addressing.connect_for_send(sock, address))
        return self.send(data, flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Accept all of `data`, nothing of which is nothing in every version.

        Errors as ``send``, perhaps after a part was accepted.
        """
        if flags or type(data) is not bytes or not data:
            flags = cmsg.checked_flags(flags)
            if self._is_nothing(data):
                return
        self._stream.sendall(data, flags)

    def _is_nothing(self, *parts: ReadableBuffer) -> bool:
        """Whether there is nothing to send.  The engine would make an empty record of it."""
        if any(map(byte_view, parts)):
            return False
        self._stream.check_process()
        return True

    def _permits_empty_frames(self) -> bool:
        session = self._slot.session
        return session is not None and session.permits_empty_frames

    def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[_CMSGArg] = (),
        flags: int = 0,
        /,
    ) -> int:
        """Send the concatenation of `buffers` as one write.

        The control message ``(IPPROTO_TCP, TLS_SET_RECORD_TYPE, bytes([n]))`` makes records of
        content type n; such a message is all or nothing, and should not be longer than one record
        (16384 bytes).

        Raises OSError as ``send``; EINVAL for any other control message (its level counts, unlike
        upstream), for MSG_MORE with one, and for a record type without a session, or without data
        but in TLS 1.0 with AES-CBC; EMSGSIZE for a message with a record type that can never fit
        (kern.ipc.tls.sendspace).
        """
        flags = cmsg.checked_flags(flags)
        parts = list(buffers)
        controls = list(ancdata)
        if not controls:
            if self._is_nothing(*parts) and not self._permits_empty_frames():
                return 0
            return self._stream.sendmsg(parts, c.TLS_RLTYPE_APP, flags)
        content_type = cmsg.record_type(controls, flags, self._slot.session)
        if self._is_nothing(*parts) and not self._permits_empty_frames():
            raise OSError(
                errno.EINVAL, f"a message of record type {content_type} needs data; it has none"
            )
        return self._stream.sendmsg(parts, content_type, flags, atomic=True)

    def aio_write(self, data: ReadableBuffer, /) -> Future[int]:
        """Accept all of `data` at once, without waiting, also on a blocking socket.

        The future ends with the number of bytes when TCP has taken the last one, or with the error
        of the connection. ``bytes`` are referenced, any other buffer is copied now. What is beyond
        ``kern.ipc.tls.sendspace`` waits in order; later writes come after it. ``cancel`` takes the
        write back while nothing of it is framed, and returns False from then on. ``shutdown`` and
        ``close`` let what was accepted drain. Callbacks run in the one thread that ends all
        futures, or in this one.

        Raises OSError as ``send``: EPIPE after ``shutdown``, EBADF when closed, an error found
        since the last call; RuntimeError at the end of the interpreter.
        """
        return futures.write(self._stream, data)

    def cork(self) -> AbstractContextManager[None]:
        """Let small writes share records: each inside the ``with`` is made as with MSG_MORE.

        The record that they fill leaves when it is full. It is closed before its time by what
        cannot join it (a message with a record type, ``sendfile`` of a regular file, new keys), at
        the end of an asynchronous write, when a writer would have to wait for room, by ``flush``,
        ``shutdown`` and ``close``, and by the end of the outermost ``with``, which raises nothing:
        what has happened to the connection is said by the next call. For all threads at once.

        Raises OSError as ``send``.
        """
        return self._stream.cork()

    def sendfile(self, file: sendfile.Readable, offset: int = 0, count: int | None = None) -> int:
        """Send a file from `offset` on, `count` bytes or up to its end; returns what was accepted.

        What ``open`` makes of a regular file is read by the engine: before a blocking call returns,
        perhaps later with a timeout or without blocking.  One that shrinks before it was read
        resets the connection (EIO).  Anything else with ``read`` is read and sent here.
        Afterwards, also after an error or a signal handler that raised, the file's position is
        `offset` plus what was accepted.  A non-blocking socket accepts what fits, which
        ``socket.sendfile`` refuses.

        Raises ValueError as ``socket.sendfile``: text files, a `count` that is not positive;
        OSError as ``send``.
        """
        return sendfile.send_file(self._stream, file, offset, count, blocking=self.getblocking())

    def flush(self, timeout: float | None = None) -> None:
        """Wait until TCP has taken everything accepted so far, and nothing that comes later.

        None waits as long as it takes.

        Raises TimeoutError, and the error of the connection that a worker found.
        """
        self._stream.flush(timeout)

    def shutdown(self, how: int, /) -> None:
        """As ``socket.shutdown``; the end of the write side follows what was accepted.

        A writer that waits for room in another thread is woken, and raises EPIPE.
        """
        how = index(how)
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise OSError(
                errno.EINVAL, f"how is {how}; it is SHUT_RD (0), SHUT_WR (1) or SHUT_RDWR (2)"
            )
        if how != socket.SHUT_WR:
            self._kernel(lambda sock: sock.shutdown(socket.SHUT_RD))
        if how != socket.SHUT_RD:
            self._stream.shutdown_write()

    # -- receiving ---------------------------------------------------------------------------------

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As ``socket.recv``: the data of records, over their ends; raw bytes without a session.

        A call returns what lies whole and fits, waits for one byte (SO_RCVLOWAT of them), and
        passes over records without data. MSG_PEEK, MSG_WAITALL and MSG_DONTWAIT as in recv(2).

        With a session, each of these is raised once, and what came before it is returned first.
        The record is lost, and those behind it are opened: EBADMSG for one that does not
        authenticate, EMSGSIZE for one too short for its cipher. The connection is reset: EINVAL
        for a wrong version or outer type, EMSGSIZE for an impossible length. EMSGSIZE at an end in
        the middle of a record. As long as it is so: EIO when the next record is no data, which
        ``recvmsg`` returns; EKEYEXPIRED after a KeyUpdate, until ``rekey_rx``. Then b"".
        """
        return self._receiver.recv(bufsize, flags)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0, /) -> int:
        """As ``recv``, straight into `buffer`; what lies behind the result may become zeros.

        No other thread may change `buffer` meanwhile.
        """
        return self._receiver.recv_into(buffer, nbytes, flags)

    def recvmsg(
        self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[bytes, list[_CMSG], int, _RetAddress]:
        """At most one record, of any type; without a session as ``recv``, and no more is said.

        With room for it (``CMSG_SPACE(6)``) the control message ``(IPPROTO_TCP, TLS_GET_RECORD,
        bytes)`` comes with the first bytes of a record: type, two bytes of version, a byte of
        padding, two of the length of its plaintext, in network order. MSG_EOR comes with its last
        bytes, MSG_CTRUNC where there is too little room for the control message. An empty record
        is a control message alone.

        Raises OSError as ``recv``; EIO for a record that is no data, when `ancbufsize` is 0.
        """
        data, record, is_end = self._receiver.recvmsg(bufsize, flags, takes_type=bool(ancbufsize))
        controls, msg_flags = cmsg.received(record, ancbufsize, is_end=is_end)
        return data, controls, msg_flags, None

    def recvmsg_into(
        self, buffers: Iterable[WriteableBuffer], ancbufsize: int = 0, flags: int = 0, /
    ) -> tuple[int, list[_CMSG], int, _RetAddress]:
        """As ``recvmsg``, into the buffers in turn: the first of the result is how many bytes."""
        count, record, is_end = self._receiver.recvmsg_into(
            list(buffers), flags, takes_type=bool(ancbufsize)
        )
        controls, msg_flags = cmsg.received(record, ancbufsize, is_end=is_end)
        return count, controls, msg_flags, None

    def rekey_rx(self, keys: ReadableBuffer | TLSEnable, /) -> None:
        """Open what was not opened yet with other keys; TLS 1.3 only.

        Bytes are the peer's next traffic secret (RFC 8446 7.2), whose records begin at 0. After a
        KeyUpdate of the peer nothing is opened until its keys are given here.

        Raises OSError, and nothing has changed then: EINVAL without a session, for another version
        or cipher, a secret of the wrong length; EBUSY before TLS 1.3.
        """
        self._stream.check_process()
        self._rx_slot.rekey(keys)

    @property
    def rx_mode(self) -> Mode:
        """Who opens records: NONE before the keys are installed, and raw bytes come then."""
        return self._rx_slot.mode

    # -- options and addresses ---------------------------------------------------------------------

    @overload
    def setsockopt(
        self, level: int, optname: int, value: int | ReadableBuffer | TLSEnable, /
    ) -> None: ...
    @overload
    def setsockopt(self, level: int, optname: int, value: None, optlen: int, /) -> None: ...

    def setsockopt(
        self, level: int, optname: int, value: Any, optlen: int | None = None, /
    ) -> None:
        """As ``socket.setsockopt``, and the options of KTLS.

        TCP_TXTLS_ENABLE takes a ``TLSEnable``, TCP_TXTLS_MODE a ``Mode``.  Errors of the two are
        OSError with upstream's errno, in upstream's order: for ENABLE EINVAL, EOPNOTSUPP (switched
        off), EALREADY, ENXIO, EPROTONOSUPPORT, ENOTCONN; for MODE EINVAL and ENXIO. Setting a mode
        without a session does nothing, as upstream.

        TCP_RXTLS_ENABLE takes a ``TLSEnable``, too: everything that was not received yet is
        records of the peer, the first of which begins there.  Errors are EINVAL, EOPNOTSUPP,
        EALREADY, EPROTONOSUPPORT (TLS 1.0).  From then on SO_RCVLOWAT counts plaintext.

        ``(SOL_TLS, TLS_TX_MAX_PAYLOAD_LEN)``, Linux's, takes the most payload bytes of the records
        to come: 64 (63 in TLS 1.3) to what the peer allows, else EINVAL; EBUSY while a record is
        open.
        """
        if (level, optname) == (c.IPPROTO_TCP, c.TCP_RXTLS_ENABLE):
            self._enable_receiving(value)
        elif is_low_water(level, optname) and self._rx_slot.session is not None:
            self._receiver.set_low_water(index(value))
        elif sockopt.is_ours(level, optname):
            sockopt.set_option(self._slot, self._stream, optname, value, self._is_listening)
        elif optlen is None:
            self._kernel(lambda sock: sock.setsockopt(level, optname, value))
        else:
            self._kernel(lambda sock: sock.setsockopt(level, optname, value, optlen))

    @overload
    def getsockopt(self, level: int, optname: int, /) -> int: ...
    @overload
    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> int | bytes:
        """Return an option as an int, or `buflen` bytes of it; the two MODE options are a ``Mode``.

        Raises OSError EINVAL for these two while listening, ENOPROTOOPT for an unknown option.
        """
        if sockopt.is_ours(level, optname):
            return sockopt.get_option(self._slot, self._rx_slot, optname, self._is_listening)
        if is_low_water(level, optname) and not buflen and self._rx_slot.session is not None:
            return self._receiver.low_water
        return self._kernel(lambda sock: sock.getsockopt(level, optname, buflen))

    def _enable_receiving(self, value: object) -> None:
        """TCP_RXTLS_ENABLE.  The kernel is to tell of every byte: it knows no plaintext."""
        option = (socket.SOL_SOCKET, socket.SO_RCVLOWAT)
        low_water = self._kernel(lambda sock: sock.getsockopt(*option))
        sockopt.enable_receiving(
            self._rx_slot, self._stream, value, self._is_listening, int(low_water)
        )
        if low_water != 1:
            self._kernel(lambda sock: sock.setsockopt(*option, 1))

    def _is_listening(self) -> bool:
        listening = self._kernel(
            lambda sock: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        )
        return bool(listening)

    def bind(self, address: _Address, /) -> None:
        """Give the socket its own address; OSError EADDRINUSE and the like."""
        self._kernel(lambda sock: sock.bind(address))

    def listen(self, backlog: int = 128, /) -> None:
        """As ``socket.listen``; EINVAL with a session, which belongs to one connection."""
        session = self._slot.session or self._rx_slot.session
        if session is not None:
            raise OSError(
                errno.EINVAL,
                f"the socket has a session ({session}) and cannot listen; listen on a"
                " plain socket and enable TLS on those it accepts",
            )
        self._kernel(lambda sock: sock.listen(backlog))

    def connect(self, address: _Address, /) -> None:
        """Connect; keys may have been installed before, as upstream.

        ``fileno`` stays what it was before.  Raises OSError as ``socket.connect``: ECONNREFUSED,
        EINPROGRESS, TimeoutError.
        """
        self._connect(lambda sock: waiting.connect(sock, address))

    def connect_ex(self, address: _Address, /) -> int:
        """As ``connect``, but the errno of a failed connection is returned; 0 is success."""
        return self._connect(lambda sock: waiting.connect_ex(sock, address))

    def _connect(self, call: Callable[[socket.SocketType], T]) -> T:
        try:
            return self._kernel(call, waits=True)
        finally:
            self._stream.note_connect()

    def getpeername(self) -> _RetAddress:
        """Return the address of the peer; OSError ENOTCONN, EBADF when closed."""
        return self._kernel(lambda sock: sock.getpeername())

    def getsockname(self) -> _RetAddress:
        """Return the socket's own address; OSError EBADF when closed."""
        return self._kernel(lambda sock: sock.getsockname())

    @property
    def family(self) -> socket.AddressFamily:
        """The address family, such as AF_INET6."""
        return socket.AddressFamily(self._family)

    @property
    def type(self) -> socket.SocketKind:
        """The kind of socket: SOCK_STREAM."""
        return socket.SocketKind(self._kind)

    @property
    def proto(self) -> int:
        """The protocol number of the socket."""
        return self._proto

    def _kernel(self, call: Callable[[socket.SocketType], T], *, waits: bool = False) -> T:
        """Make a call that the engine does not make.

        `waits`: it obeys the time-out, which needs a flag of the kernel's socket, and waits on a
        descriptor of its own.
        """
        if not waits:
            return self._stream.with_socket(call)
        sock = self._stream.duplicate()
        try:
            sock.settimeout(self.gettimeout())
            return call(sock)
        finally:
            sock.close()

    # -- the rest of a socket ----------------------------------------------------------------------

    def fileno(self) -> int:
        """A descriptor for select, poll and epoll only, -1 when closed.

        Readable when ``recv`` has something to return, for which a part of a record is nothing,
        writable when ``send`` has room; it hangs up and fails as the socket does. The number is the
        same until ``close``, also when it was asked for before ``connect``: it is writable once the
        connection is there, and nothing before. It is not the socket, whose bytes would be clear
        text in a TLS stream: writing to it is EPIPE (EMSGSIZE for more than its buffer) and a
        signal.

        Raises OSError EMFILE without a free descriptor.
        """
        if self._stream.closed:
            return -1
        return self._stream.fileno()

    def detach(self) -> int:
        """A descriptor of the kernel's socket, once all was sent that was accepted; closes this.

        Raises OSError EOPNOTSUPP with a session: whoever writes to the descriptor would send clear
        text.
        """
        if not self._stream.is_released:
            self._stream.check_process()
        if self._slot.session is not None or self._rx_slot.session is not None:
            raise OSError(
                errno.EOPNOTSUPP,
                "the descriptor of a socket with a session is not handed out: what is written to it"
                " would leave in clear text; use the ktls.Socket",
            )
        return self._release().detach()

    def _release(self) -> socket.socket:
        """Give the kernel socket back when all was sent that was accepted; closes this object."""
        timeout = self.gettimeout()
        if not self._stream.is_released:
            self._stream.flush(timeout)
        sock = self._stream.release()
        sock.settimeout(timeout)
        return sock

    def _inherit(self) -> socket.socket:
        """In a forked child, the socket of a connection that the parent did not touch."""
        sock = self._stream.inherit()
        sock.settimeout(self.gettimeout())
        return sock

    def close(self) -> None:
        """Let accepted data drain in the background, then close the connection.

        Waits for that with SO_LINGER only: at most so long, then the connection is reset; one of
        zero resets it at once. A connection that makes no progress for
        ``kern.ipc.tls.linger_timeout`` is reset. Whoever waits in another thread raises EBADF. In a
        forked child a blocking socket sends first what was accepted, since ``os._exit`` drains
        nothing.
        """
        self._close(discard=False)

    def _close(self, *, discard: bool) -> None:
        try:
            forked.drain(self)
        finally:
            self._stream.close(discard=discard)

    def abort(self) -> None:
        """Reset the connection and drop what was accepted; whoever waits raises ECONNABORTED.

        Later calls raise EPIPE. Also after ``close``, while that drains. Never raises, and never
        waits.
        """
        self._stream.abort()

    def settimeout(self, value: float | None, /) -> None:
        """As ``socket.settimeout``: None blocks, 0 never does, otherwise seconds.

        OverflowError for more than 292 years, ValueError for less than nothing.
        """
        self._stream.check_process()
        waiting.require_callback(value)
        self._stream.settimeout(value)

    def gettimeout(self) -> float | None:
        """Return how many seconds a call waits; None: as long as it takes."""
        return self._stream.gettimeout()

    def setblocking(self, flag: bool, /) -> None:
        """Let calls wait, or not at all: ``settimeout`` of None or of 0."""
        self.settimeout(None if index(flag) else 0.0)

    def getblocking(self) -> bool:
        """Return whether calls wait."""
        return self._stream.gettimeout() != 0

    def __del__(self) -> None:
        stream = getattr(self, "_stream", None)
        if warnings is None:
            # The end of the interpreter empties modules; before, a repr finds nothing to import.
            return
        if stream is not None and stream.is_unclosed:
            at_exit = sys.is_finalizing()
            try:
                what = "<ktls.Socket>" if at_exit else repr(self)
                warnings.warn(f"unclosed {what}", ResourceWarning, source=self, stacklevel=2)
            finally:
                # Whoever records the warning keeps this object, but not its connection.
                if not at_exit:
                    stream.close(discard=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: builtins.type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._stream.closed:
            return "<ktls.Socket closed>"
        try:
            ends = self._kernel(tcp.ends)
        except OSError as error:
            ends = str(error.strerror)
        tx, rx = self._slot.session, self._rx_slot.session
        modes = f"mode={self.mode.name}" + (f" ({tx})" if tx is not None else "")
        if rx is not None:
            modes += f" rx_mode={rx.mode.name} ({rx})"
        return f"<ktls.Socket {modes} {ends}>"
