"""TLS 1.0 with AES-CBC: what precedes the data of a write, so that nobody can foresee its IV.

The IV of a TLS 1.0 record is the end of the record before, which whoever listens has seen (the
attack called BEAST; RFC 5246 F.3).  An empty record, or one of the first byte alone, puts a MAC
that cannot be foreseen in between.  Which one, if any, is the policy of the session; nothing here
knows what a record looks like.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from contextlib import contextmanager, suppress
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any

from ktls.byte_view import byte_view
from ktls.constants import TLS_RLTYPE_APP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from _typeshed import ReadableBuffer

    from ktls._core import AioWrite, Stream


@unique
class Fragment(StrEnum):
    """What precedes the data of a write: the values of ``kern.ipc.tls.tls10_fragment``."""

    NONE = "none"
    """Nothing."""
    EMPTY = "empty"
    """A record without data."""
    SPLIT = "split"
    """A record of the first byte; the rest follows (1/n-1 splitting)."""


class Fragmenting:
    """A stream whose writes of application data are preceded as `fragment` says.

    Everything else is the stream's own.  A write with a record type is one message and is left as
    it is.  Two writes never mix.  `sock` is the one below.
    """

    def __init__(self, stream: Stream, sock: socket.socket, fragment: Fragment) -> None:
        self._stream = stream
        self._sock = sock
        self._split = fragment is Fragment.SPLIT
        self._timeout = sock.gettimeout()
        self._lock = threading.Lock()
        self._pid = os.getpid()
        # An empty record is out whose data found no room: peers count empty ones and give up.
        self._preceded = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def settimeout(self, timeout: float | None) -> None:
        """As the stream's; also the time to wait for another write."""
        self._timeout = timeout
        self._stream.settimeout(timeout)

    def send(self, data: ReadableBuffer, content_type: int = TLS_RLTYPE_APP, flags: int = 0) -> int:
        """As the stream's."""
        with self._alone(flags):
            view = byte_view(data)
            if content_type != TLS_RLTYPE_APP or not view:
                return self._stream.send(data, content_type, flags)
            return self._send(view, flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """As the stream's."""
        with self._alone(flags), self._together():
            view = byte_view(data)
            rest = view[self._precede(view, flags) :]
            if rest:
                self._stream.sendall(rest, flags)
            self._preceded = False

    def sendmsg(
        self,
        buffers: Sequence[ReadableBuffer],
        content_type: int = TLS_RLTYPE_APP,
        flags: int = 0,
        *,
        atomic: bool = False,
    ) -> int:
        """As the stream's."""
        with self._alone(flags):
            view = memoryview(b"".join(map(byte_view, buffers)))
            if atomic or content_type != TLS_RLTYPE_APP or not view:
                return self._stream.sendmsg(buffers, content_type, flags, atomic=atomic)
            return self._send(view, flags)

    def aio_write(self, id: int, data: ReadableBuffer) -> AioWrite | None:
        """As the stream's; waits while another thread writes, as long as the time-out says."""
        with self._alone():
            if not byte_view(data):
                return self._stream.aio_write(id, data)
            # Also behind an open record, which may be closed before there is room for this.
            self._preceded = False
            return self._stream.aio_write(id, data, 1 if self._split else 0)

    def send_counted(self, data: ReadableBuffer, accepted: list[int]) -> int:
        """As the stream's, but a signal handler that raises may hide what was accepted."""
        accepted.append(self.send(data))
        return accepted[-1]

    def sendfile(self, fd: int, offset: int, count: int, file: Any = None) -> int:
        """As the stream's."""
        with self._alone(), self._together():
            if not self._split:
                self._precede_empty(0)
                accepted = self._stream.sendfile(fd, offset, count, file)
                self._preceded = not accepted
                return accepted
            first = self._stream.sendfile(fd, offset, min(count, 1), file)
            if not first or count == first:
                return first
            try:
                return first + self._stream.sendfile(fd, offset + first, count - first, file)
            except (BlockingIOError, TimeoutError):
                return first

    def _send(self, view: memoryview, flags: int) -> int:
        with self._together():
            first = self._precede(view, flags)
            rest = view[first:]
            if not rest:
                return first
            try:
                accepted = first + self._stream.send(rest, TLS_RLTYPE_APP, flags)
            except (BlockingIOError, TimeoutError):
                if not first:
                    raise
                return first
            self._preceded = False
            return accepted

    def _precede(self, view: memoryview, flags: int) -> int:
        """Send what precedes `view`; returns how many of its bytes that were."""
        if self._stream.has_open_record:
            # What joins it comes behind bytes that were chosen before its IV was known.
            return 0
        flags &= ~socket.MSG_MORE
        if self._split:
            # A record of its own: nothing may join it.
            return self._stream.sendmsg([view[:1]], TLS_RLTYPE_APP, flags, atomic=True)
        self._precede_empty(flags)
        return 0

    def _precede_empty(self, flags: int) -> None:
        if not self._preceded:
            self._stream.send(b"", TLS_RLTYPE_APP, flags)
            self._preceded = True

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Let TCP send what precedes the data with the data.

        Nagle's algorithm would hold the data back until the peer has acknowledged the rest, and a
        peer that waits for the data takes its time for that (40 ms).
        """
        try:
            corked = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        except OSError:
            # It is closed: the stream says so in its own words.
            corked = 1
        try:
            yield
        finally:
            if not corked:
                with suppress(OSError):
                    self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    @contextmanager
    def _alone(self, flags: int = 0) -> Iterator[None]:
        if os.getpid() != self._pid:
            # As the stream would say; but the lock may be held by a thread that was not forked.
            raise OSError(
                errno.EPIPE,
                "the connection belongs to the parent process; connect anew in the child",
            )
        timeout = 0 if flags & socket.MSG_DONTWAIT else self._timeout
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            if timeout == 0:
                raise BlockingIOError(errno.EAGAIN, "another thread is writing; try again")
            raise TimeoutError("timed out while another thread was writing")
        try:
            yield
        finally:
            self._lock.release()
