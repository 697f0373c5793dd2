"""``ktls.Socket``: the socket-like face of a session.

It owns one TCP socket.  Everything written goes through the engine's stream, before and after the
keys are there, so that order is kept and nothing overtakes.  How a file is sent is in ``sendfile``,
how an asynchronous write ends in ``futures``.
"""

from __future__ import annotations

import errno
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from ktls import _core, futures, message, sendfile, tcp, workers
from ktls import constants as c
from ktls.addressing import Addressing
from ktls.byte_view import byte_view
from ktls.fragments import Fragment, Fragmenting
from ktls.options import Options
from ktls.receiving import Receiving
from ktls.session import Slot

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future
    from types import TracebackType

    from _typeshed import ReadableBuffer

    from ktls.params import TLSEnable


class Socket(Options, Receiving, Addressing):
    """Takes over a TCP socket, connected or fresh, and sends through KTLS once keys are installed.

    The object that was passed in is closed afterwards, so that no one writes clear text through it;
    its timeout is kept.  Usable from any thread: records are never torn, and each thread's calls
    keep their order.  A ``send`` that returned has been *accepted*: the data may be changed, an
    error found later is raised once by the next call, and ``close`` lets accepted data drain.

    Raises TypeError for anything but a plain ``socket.socket``, OSError EBADF for a closed one,
    OSError EINVAL for one that is not TCP, OSError when the worker threads cannot be started.
    """

    __slots__ = ("__weakref__", "_engine", "_selectable", "_slot", "_sock", "_stream")

    def __init__(self, sock: socket.socket, /) -> None:
        if isinstance(sock, Socket):
            raise TypeError("already a ktls.Socket; use it as it is")
        tcp.require_tcp(sock)
        workers.start()
        timeout = sock.gettimeout()
        family, kind, proto = sock.family, sock.type, sock.proto
        self._engine = _core.Stream(sock.fileno())
        # What is written goes through here: in TLS 1.0 something may be put before it.
        self._stream: _core.Stream | Fragmenting = self._engine
        self._sock = socket.socket(family, kind, proto, fileno=sock.detach())
        self._slot = Slot()
        self._selectable = False
        self.settimeout(timeout)

    # -- keys --------------------------------------------------------------------------------------

    def rekey(self, keys: ReadableBuffer | TLSEnable, /) -> None:
        """Seal everything accepted from now on with other keys; TLS 1.3 only.

        Bytes are the next traffic secret (RFC 8446 7.2): a KeyUpdate that asks for none leaves
        under the old keys, and the new ones begin at record 0. From then on the secret is known,
        and the connection rekeys by itself at ``kern.ipc.tls.records_per_key``. A ``TLSEnable``
        is a change of keys without a word: the program has told the peer. What was accepted
        before, by any thread, keeps its keys. Never waits.

        Raises OSError, and nothing has changed then: EINVAL without a session, for another version
        or cipher, a secret of the wrong length, keys that were used here before; EBUSY before TLS
        1.3; EPIPE and the like as ``send``.
        """
        self._slot.rekey(self._engine, keys)

    # -- the hand-over's way in --------------------------------------------------------------------

    def _install(
        self,
        keys: _core.Keys,
        sequence: int,
        explicit_nonce: int | None,
        max_frame_len: int,
        secret: _core.Secret | None = None,
    ) -> None:
        """TCP_TXTLS_ENABLE with keys that the engine holds already.  OSError as there."""
        self._slot.install(
            self._engine,
            keys,
            sequence,
            explicit_nonce,
            max_frame_len,
            secret,
            listening=self._listening(),
        )
        self._fragment()

    def _fragment(self) -> None:
        session = self._slot.session
        if session is not None and session.fragment is not Fragment.NONE:
            self._stream = Fragmenting(self._engine, self._sock, session.fragment)

    def _replace(self, keys: _core.Keys, secret: _core.Secret | None) -> None:
        """Other keys, before the first ones have sealed anything."""
        self._slot.replace(self._engine, keys, secret)

    def _update_key(self, message: bytes) -> None:
        """The KeyUpdate `message`, and from then on the keys after those in use (TLS 1.3)."""
        self._engine.update_key(message)

    def _release(self) -> socket.socket:
        """Give the kernel socket back when all was sent that was accepted; closes this object."""
        timeout = self.gettimeout()
        self._stream.flush(timeout)
        self._stream.release()
        sock = socket.socket(self.family, self.type, self.proto, fileno=self._sock.detach())
        sock.settimeout(timeout)
        return sock

    # -- sending -----------------------------------------------------------------------------------

    def send(self, data: ReadableBuffer, flags: int = 0, /) -> int:
        """Accept as much of `data` as there is room for; returns the count.

        What was accepted is never asked for again.
        Blocking, that is all of it; with a timeout or MSG_DONTWAIT perhaps less.  ``bytes`` are
        referenced, any other buffer is copied.  MSG_MORE leaves the last record open for the next
        write of data (see ``cork``).  Empty data: 0, as Python's sockets do (upstream says EINVAL);
        in TLS 1.0 with AES-CBC a record without data, as upstream.

        Raises BlockingIOError or TimeoutError when nothing was accepted, OSError EPIPE after
        ``shutdown``, EINVAL for MSG_EOR, EOPNOTSUPP for flags other than MSG_MORE, MSG_DONTWAIT and
        MSG_NOSIGNAL.
        """
        if flags or type(data) is not bytes or not data:
            flags = message.checked_flags(flags)
            if self._is_nothing(data) and not self._permits_empty_frames():
                return 0
            return self._stream.send(data, c.TLS_RLTYPE_APP, flags)
        return self._stream.send(data)

    def sendto(
        self, data: ReadableBuffer, flags_or_address: Any, address: Any | None = None, /
    ) -> int:
        """As ``socket.sendto``: connects first if need be, then ``send``.

        Raises OSError EAFNOSUPPORT for a multicast and EACCES for the broadcast address, then as
        ``connect`` and ``send``.  The address of a connected socket is not looked at any further.
        """
        flags = 0
        if address is None:
            address = flags_or_address
        else:
            flags = message.checked_flags(flags_or_address)
        self._connect_for_send(address)
        return self.send(data, flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0, /) -> None:
        """Accept all of `data`, nothing of which is nothing in every version.

        Errors as ``send``, perhaps after a part was accepted.
        """
        if flags or type(data) is not bytes or not data:
            flags = message.checked_flags(flags)
            if self._is_nothing(data):
                return
        self._stream.sendall(data, flags)

    def _is_nothing(self, *parts: ReadableBuffer) -> bool:
        """Whether there is nothing to send.  The engine would make an empty record of it."""
        if any(map(byte_view, parts)):
            return False
        if self._sock.fileno() < 0:
            raise OSError(errno.EBADF, "the socket is closed")
        return True

    def _permits_empty_frames(self) -> bool:
        session = self._slot.session
        return session is not None and session.permits_empty_frames

    def sendmsg(
        self,
        buffers: Iterable[ReadableBuffer],
        ancdata: Iterable[tuple[int, int, ReadableBuffer]] = (),
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
        flags = message.checked_flags(flags)
        parts = list(buffers)
        controls = list(ancdata)
        if not controls:
            if self._is_nothing(*parts) and not self._permits_empty_frames():
                return 0
            return self._stream.sendmsg(parts, c.TLS_RLTYPE_APP, flags)
        content_type = message.record_type(controls, flags, self._slot.session)
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
        futures, or in this one. Where something precedes each write (TLS 1.0,
        ``kern.ipc.tls.tls10_fragment``) it waits for other threads' writes, as ``send``.

        Raises OSError as ``send``: EPIPE after ``shutdown``, EBADF when closed, an error found
        since the last call; RuntimeError at the end of the interpreter.
        """
        return futures.write(self._stream, data)

    @contextmanager
    def cork(self) -> Iterator[None]:
        """Let small writes share records: each inside the ``with`` is made as with MSG_MORE.

        The record that they fill leaves when it is full. It is closed before its time by what
        cannot join it (a message with a record type, ``sendfile`` of a regular file, new keys), at
        the end of an asynchronous write, when a writer would
        have to wait for room, by ``flush``, ``shutdown`` and ``close``, and by the end of the
        outermost ``with``, which raises nothing: what has happened to the connection is said by the
        next call. For all threads at once.

        Raises OSError as ``send``.
        """
        self._stream.cork()
        try:
            yield
        finally:
            self._stream.uncork()

    def sendfile(self, file: sendfile.Readable, offset: int = 0, count: int | None = None) -> int:
        """Send a file from `offset` on, `count` bytes or up to its end; returns what was accepted.

        What ``open`` makes of a regular file is read by the engine: before a blocking call returns,
        perhaps later with a timeout or without blocking.  One that shrinks before it was read
        resets the connection (EIO).  Anything else with ``read`` is read and sent here.
        Afterwards, also after an error or a signal handler that raised, the file's position is
        `offset` plus what was accepted.  A non-blocking socket accepts what
        fits, which ``socket.sendfile`` refuses.

        Raises ValueError as ``socket.sendfile``: text files, a `count` that is not positive;
        OSError as ``send``.
        """
        return sendfile.send_file(self._stream, file, offset, count, blocking=self._blocking())

    def _blocking(self) -> bool:
        return self._sock.gettimeout() != 0

    def flush(self, timeout: float | None = None) -> None:
        """Wait until TCP has taken everything accepted so far; None waits as long as it takes.

        Raises TimeoutError, and the error of the connection that a worker found.
        """
        self._stream.flush(timeout)

    def shutdown(self, how: int, /) -> None:
        """As ``socket.shutdown``; the end of the write side follows what was accepted."""
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self._sock.shutdown(socket.SHUT_RD)
        if how in (socket.SHUT_WR, socket.SHUT_RDWR):
            self._stream.shutdown_write()
        elif how != socket.SHUT_RD:
            raise OSError(
                errno.EINVAL, f"how is {how}; it is SHUT_RD (0), SHUT_WR (1) or SHUT_RDWR (2)"
            )

    # -- the rest of a socket ----------------------------------------------------------------------

    def fileno(self) -> int:
        """A descriptor for select, poll and epoll only, -1 when closed.

        Readable when the kernel has something to read, writable when ``send`` has room.  It is not
        the socket: bytes written to that would be clear text in a TLS stream.
        """
        if self._sock.fileno() < 0:
            return -1
        self._selectable = True
        return self._stream.fileno()

    def detach(self) -> int:
        """The kernel's descriptor, once all was sent that was accepted; closes this object.

        Raises OSError EOPNOTSUPP with a session: whoever writes to the descriptor would send clear
        text.
        """
        if self._slot.session is not None:
            raise OSError(
                errno.EOPNOTSUPP,
                "the descriptor of a socket with a session is not handed out: what is written to it"
                " would leave in clear text; use the ktls.Socket",
            )
        return self._release().detach()

    def close(self) -> None:
        """Let accepted data drain in the background, then close the connection.  Never blocks."""
        self._stream.close()
        self._sock.close()

    def settimeout(self, value: float | None, /) -> None:
        """As ``socket.settimeout``: None blocks, 0 never does, otherwise seconds."""
        self._sock.settimeout(value)
        self._stream.settimeout(value)

    def gettimeout(self) -> float | None:
        """As ``socket.gettimeout``."""
        return self._sock.gettimeout()

    def setblocking(self, flag: bool, /) -> None:
        """As ``socket.setblocking``."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """As ``socket.getblocking``."""
        return self._blocking()

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
        if self._sock.fileno() < 0:
            return "<ktls.Socket closed>"
        session = self._slot.session
        described = "" if session is None else f" ({session})"
        return f"<ktls.Socket mode={self.mode.name}{described} {tcp.ends(self._sock)}>"
