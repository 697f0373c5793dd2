"""All that leaves a connection, in one order: OpenSSL's records, our messages, the user's data.

All of it goes through the stream of the `ktls.Socket`. The write lock keeps a KeyUpdate and the
keys that follow it together; the thread that reads never waits for it: what it finds to be said (an
alert, an answer) it leaves in the outbox for the next writer, or says itself when nobody writes.
"""

import errno
import math
import os
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from ktls import futures
from ktls.byte_view import byte_view
from ktls.errors import KTLSError
from ktls.message import checked_flags
from ktls.socket import Socket

from .follower import HANDSHAKE, Message
from .shadow import Shadow

if TYPE_CHECKING:
    from concurrent.futures import Future

    from _typeshed import ReadableBuffer

__all__ = ["WantWriteError", "Writer"]

P = ParamSpec("P")
T = TypeVar("T")

_OFFER_MAX: Final = 65536
"""Bytes: while more is waiting, the thread that reads sends nothing, or it might have to wait."""

_SENDFILE_STEP: Final = 16 * 1024 * 1024
"""Bytes of a file between two looks at what the peer asked for, such as a KeyUpdate."""

_UNREAD_MAX: Final = 65536
_PASS_THROUGH_LEN: Final = 16384


class WantWriteError(ssl.SSLWantWriteError, BlockingIOError):
    """No room on a non-blocking socket: what `ssl` raises and what `socket` raises, in one."""

    def __init__(self) -> None:
        super().__init__(ssl.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)")


class Writer:
    """The sending half; before `take_over` it passes OpenSSL's records on."""

    def __init__(self, socket: Socket, shadow: Shadow) -> None:
        self._socket = socket
        self._stream = socket._stream
        self._shadow = shadow
        self._outbox = shadow.outbox
        self._lock = threading.Lock()
        self._pid = os.getpid()
        # The keys are ours.
        self._seals = False
        self._tls13 = False
        # Something is to be done before the next byte of the user's.
        self._attention = True
        self._answer_due = False
        self._ended: Callable[[], OSError] | None = None
        self._failure: OSError | None = None

    # -- what the user sends -----------------------------------------------------------------------

    def send(self, data: "ReadableBuffer", flags: int = 0) -> int:
        """Return how many bytes were accepted, as `ktls.Socket.send`."""
        if not self._lock.acquire(False):
            self._wait_for_lock()
        try:
            if self._attention and not self._attend():
                return self._pass_through(data, flags)
            if (type(data) is not bytes or not data) and not byte_view(data):
                # As in ssl: the stream would make a record of it.
                return 0
            return self._socket.send(data, flags) if flags else self._stream.send(data)
        except BlockingIOError:
            raise WantWriteError from None
        finally:
            self._lock.release()
            # Left by the thread that reads, while this one held the lock.
            if self._outbox:
                self.offer()

    def sendall(self, data: "ReadableBuffer", flags: int = 0) -> None:
        """Send all of `data`; when an error is raised perhaps only a part."""
        if flags:
            flags = checked_flags(flags)
        if not self._seals:
            _refuse_flags(flags)
            self._pass_all_through(byte_view(data))
            return
        if not self._lock.acquire(False):
            self._wait_for_lock()
        try:
            if self._attention:
                self._attend()
            self._stream.sendall(data, flags)
        except BlockingIOError:
            raise WantWriteError from None
        finally:
            self._lock.release()
            if self._outbox:
                self.offer()

    def aio_write(self, data: "ReadableBuffer") -> "Future[int]":
        """As `ktls.Socket.aio_write`; while OpenSSL writes, it seals here and now.

        Waits only for another writer while OpenSSL writes, and for room for what OpenSSL has to say
        before (an alert, an answer).
        """
        if not self._lock.acquire(False):
            if self._seals and self._ended is None and os.getpid() == self._pid:
                # Its writer has attended, and the stream keeps the order.
                return futures.write(self._stream, data)
            self._wait_for_lock()
        try:
            if not self._seals:
                return self._aio_pass_through(byte_view(data))
            if self._attention:
                self._attend()
            return futures.write(self._stream, data)
        except BlockingIOError:
            raise WantWriteError from None
        finally:
            self._lock.release()
            if self._outbox:
                self.offer()

    def sendmsg(
        self,
        buffers: Sequence["ReadableBuffer"],
        ancdata: Sequence[tuple[int, int, "ReadableBuffer"]],
        flags: int,
    ) -> int:
        """Send buffers as one write, as `ktls.Socket.sendmsg`.

        EOPNOTSUPP for a control message while OpenSSL writes.
        """
        if self._seals:
            return self._sealed(self._socket.sendmsg, buffers, ancdata, flags)
        if ancdata:
            raise OSError(
                errno.EOPNOTSUPP,
                "OpenSSL writes on this connection and takes no control messages; see why",
            )
        return self.send(b"".join(map(byte_view, buffers)), flags)

    def send_counted(self, data: "ReadableBuffer", accepted: list[int]) -> int:
        """As `send`; the result is appended to `accepted`."""
        if self._seals:
            return self._sealed(self._stream.send_counted, data, accepted)
        accepted.append(self.send(data))
        return accepted[-1]

    def sendfile(self, fd: int, offset: int, count: int, file: Any) -> int:
        """Send at most `count` bytes of a regular file; returns what was accepted, 0 at its end.

        That is the position of `file` afterwards.
        """
        if self._seals:
            return self._sealed(self._stream.sendfile, fd, offset, min(count, _SENDFILE_STEP), file)
        accepted = self.send(os.pread(fd, min(count, _PASS_THROUGH_LEN), offset))
        if file is not None:
            file.seek(offset + accepted)
        return accepted

    def cork(self) -> AbstractContextManager[None]:
        """As `ktls.Socket.cork`; while OpenSSL writes, each write is a record all the same."""
        return self._socket.cork() if self._seals else nullcontext()

    def key_update(self, *, request: bool) -> None:
        """Say KeyUpdate and go on with the next keys (RFC 8446 §4.6.3); `request` asks for one.

        KTLSError when the keys are not ours, or before TLS 1.3.
        """
        if not self._seals or not self._tls13:
            raise KTLSError(
                "a KeyUpdate needs TLS 1.3 and a connection that was taken over (see mode and why)"
            )
        self._sealed(self._say, _key_update(request))

    # -- what OpenSSL has to say -------------------------------------------------------------------

    def take_over(self, *, tls13: bool) -> None:
        """From here on the user's data is sealed by the stream."""
        self._seals = True
        # In TLS 1.0 the socket may put something before the data of a write now.
        self._stream = self._socket._stream
        self._tls13 = tls13

    def emit(self) -> None:
        """Send the outbox, waiting for room as the socket's time-out says."""
        if not self._lock.acquire(False):
            self._wait_for_lock()
        try:
            self._empty_outbox()
        except BlockingIOError:
            raise WantWriteError from None
        finally:
            self._lock.release()

    def offer(self) -> None:
        """Send the outbox if that can be done without waiting, else leave it to the next call.

        An error is kept for the next write.
        """
        self._attention = True
        if not self._lock.acquire(False):
            return
        try:
            if self._stream.pending <= _OFFER_MAX:
                self._empty_outbox()
        except BlockingIOError:
            pass
        except OSError as error:
            self._failure = error
        finally:
            self._lock.release()

    def expect_answer(self) -> None:
        """Something came that may want an answer: OpenSSL gives it at its next write (TLS 1.3)."""
        if self._tls13:
            self._answer_due = True
            self._attention = True

    def close(self) -> None:
        """Send what can be sent at once, let the rest drain, and close."""
        if os.getpid() == self._pid:
            self._socket.settimeout(0.0)
            if self._outbox:
                self.offer()
            # What lies unread, such as a ticket, would make the kernel reset the connection and
            # drop what the peer did not get yet.
            with suppress(OSError):
                self._socket.recv(_UNREAD_MAX)
        self._socket.close()

    # -- inside the lock ---------------------------------------------------------------------------

    def _sealed(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something with the stream while nobody else does."""
        if not self._lock.acquire(False):
            self._wait_for_lock()
        try:
            if self._attention:
                self._attend()
            return operation(*args, **kwargs)
        except BlockingIOError:
            raise WantWriteError from None
        finally:
            self._lock.release()
            if self._outbox:
                self.offer()

    def _attend(self) -> bool:
        """Do what is to be done first; returns whether the keys are ours."""
        self._attention = False
        try:
            self._raise_failure()
            self._empty_outbox()
            if not self._seals:
                self._attention = True
                return False
            if self._ended is not None:
                raise self._ended()
            if self._answer_due:
                self._answer_due = False
                # Writing nothing makes no record, but OpenSSL answers a KeyUpdate first.
                self._shadow.call(self._shadow.ssl_object.write, b"")
                self._empty_outbox()
        except BaseException:
            self._attention = True
            raise
        return True

    def _raise_failure(self) -> None:
        """Raise, once, what kept the outbox from being sent."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _empty_outbox(self) -> None:
        outbox = self._outbox
        while outbox:
            item = outbox[0]
            if isinstance(item, Message):
                self._say(item)
            else:
                count = self._stream.send(item)
                if count < len(item):
                    outbox[0] = item[count:]
                    continue
            del outbox[0]

    def _say(self, message: Message) -> None:
        if message.ends_generation:
            self._socket._update_key(message.payload)
        else:
            self._stream.sendmsg([message.payload], message.content_type, atomic=True)
        if message.ends_writing(self._tls13):
            self._ended = _protocol_is_shutdown
            self._attention = True

    def _pass_through(self, data: "ReadableBuffer", flags: int) -> int:
        _refuse_flags(flags)
        view = byte_view(data)
        if not view:
            return 0
        count = self._shadow.call(self._shadow.ssl_object.write, view[:_PASS_THROUGH_LEN])
        # OpenSSL has taken the data: what finds no room now goes with the next call.
        with suppress(BlockingIOError, TimeoutError):
            self._empty_outbox()
        return count

    def _aio_pass_through(self, view: memoryview) -> "Future[int]":
        self._raise_failure()
        count = len(view)
        while view:
            view = view[
                self._shadow.call(self._shadow.ssl_object.write, view[:_PASS_THROUGH_LEN]) :
            ]
        ready = len(self._outbox)
        records = b"".join(cast("list[bytes]", self._outbox[:ready]))
        del self._outbox[:ready]
        # OpenSSL has counted these records: none may be missing.
        return futures.write(self._stream, records, count=count, cancellable=False)

    def _pass_all_through(self, view: memoryview) -> None:
        # The time-out is that of the whole call, as in ssl.
        timeout = self._socket.gettimeout()
        end = time.monotonic() + timeout if timeout else math.inf
        while view:
            view = view[self.send(view) :]
            if view and time.monotonic() > end:
                raise TimeoutError("The write operation timed out")

    # -- the lock ----------------------------------------------------------------------------------

    def _wait_for_lock(self) -> None:
        if os.getpid() != self._pid:
            raise OSError(
                errno.EPIPE,
                "the connection belongs to the parent process; connect anew in the child",
            )
        timeout = self._socket.gettimeout()
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            if timeout == 0:
                raise WantWriteError
            raise TimeoutError("The write operation timed out")


def _refuse_flags(flags: int) -> None:
    if flags:
        raise ValueError(f"OpenSSL writes on this connection and takes no flags: {flags:#x}")


def _key_update(request: bool) -> Message:
    return Message(HANDSHAKE, bytes([24, 0, 0, 1, request]), ends_generation=True)


def _protocol_is_shutdown() -> ssl.SSLError:
    error = ssl.SSLError(ssl.SSL_ERROR_SSL, "[SSL: PROTOCOL_IS_SHUTDOWN] protocol is shutdown")
    error.library, error.reason = "SSL", "PROTOCOL_IS_SHUTDOWN"
    return error
