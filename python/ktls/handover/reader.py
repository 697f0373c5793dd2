"""What arrives: whole records off the kernel's socket, and what OpenSSL makes of them.

What follows a close_notify is not ours (`unwrap`), so nothing is taken from the kernel before it is
known to be a record; records that are marked as data are taken together. OpenSSL reads; the only
thing looked for here is whether a record held no data and so may want an answer.
"""

import select
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Final, overload

from ktls._core import read_records
from ktls.socket import Socket

from .records import HEADER_SIZE, plausible_header, record_size
from .shadow import Shadow
from .writer import Writer

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["Deadline", "Reader"]

_UNFRAMED_LEN: Final = 4096


class Deadline:
    """The end of one call: its time-out counts from the beginning, whatever arrives."""

    def __init__(self, timeout: float | None, operation: str) -> None:
        self.timeout = timeout
        self.begun = False
        self._operation = operation
        self._end = None if not timeout else time.monotonic() + timeout

    def remaining(self) -> float | None:
        """Seconds left, None without a limit.  TimeoutError when there are none."""
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.expired()
        return left

    def expired(self) -> TimeoutError:
        """Return the error to raise."""
        return TimeoutError(f"The {self._operation} operation timed out")

    @contextmanager
    def held(self, lock: threading.Lock) -> Iterator[None]:
        """Hold a lock that another thread may keep while it waits for the peer."""
        if not lock.acquire(False):
            left = self.remaining()
            if self.timeout == 0:
                raise _want_read()
            if not lock.acquire(timeout=-1 if left is None else left):
                raise self.expired()
        try:
            yield
        finally:
            lock.release()


_WITHOUT_LIMIT: Final = Deadline(None, "read")
_AT_ONCE: Final = Deadline(0.0, "read")


class Reader:
    """The receiving half.  `watch` sees every record before OpenSSL does."""

    def __init__(self, sock: Socket, shadow: Shadow, writer: Writer) -> None:
        self._socket = sock
        self._stream = sock._stream
        self._kernel = sock._sock
        self._shadow = shadow
        self._writer = writer
        self._lock = threading.Lock()
        self._partial = b""
        self._framed = True
        # OpenSSL needs another record; None: not looked up yet.
        self._hungry: bool | None = True
        self._several = False
        self._poll: select.poll | None = None
        self.watch: Callable[[bytes], None] | None = None

    def deadline(self, operation: str) -> Deadline:
        """Return the deadline of a call that begins now."""
        return Deadline(self._kernel.gettimeout(), operation)

    def alone(self, deadline: Deadline) -> AbstractContextManager[None]:
        """Hold the reading half: records are not torn apart by two readers."""
        return deadline.held(self._lock)

    @overload
    def read(self, size: int, buffer: None = None) -> bytes: ...
    @overload
    def read(self, size: int, buffer: "WriteableBuffer") -> int: ...
    def read(self, size: int, buffer: "WriteableBuffer | None" = None) -> bytes | int:
        """At most `size` bytes of plaintext, as `SSLSocket.read`: none after close_notify.

        SSLWantReadError when non-blocking, TimeoutError, SSLEOFError when the stream ends without
        close_notify.
        """
        timeout = self._kernel.gettimeout()
        if timeout is None:
            deadline = _WITHOUT_LIMIT
        else:
            deadline = Deadline(timeout, "read") if timeout else _AT_ONCE
        if not self._lock.acquire(False):
            with self.alone(deadline):
                return self._read(size, buffer, deadline)
        try:
            return self._read(size, buffer, deadline)
        finally:
            self._lock.release()

    def fileno(self) -> int:
        """Return the descriptor to select on; readable for what lies decrypted here, too."""
        made = self._socket._selectable
        descriptor = self._socket.fileno()
        if not made:
            self._stream.consumed(self._shadow.has_more())
        return descriptor

    def feed(self, deadline: Deadline) -> None:
        """Give the next record to OpenSSL, or the end of the stream.  The caller holds `alone`."""
        self._several = False
        record = self._next_record(deadline)
        if self.watch is not None and record:
            self.watch(record)
        self._shadow.feed(record)

    def _read(self, size: int, buffer: "WriteableBuffer | None", deadline: Deadline) -> bytes | int:
        shadow = self._shadow
        while True:
            # What can be done before the wait for the peer is: its answer must not wait for it.
            hungry = not shadow.has_more() if self._hungry is None else self._hungry
            records = self._take_burst(deadline) if hungry else b""
            self._hungry = None
            try:
                got = shadow.read(records, size, buffer)
            except ssl.SSLWantReadError:
                # There was a record, and it held no data.
                self._hungry = True
                self._writer.expect_answer()
                continue
            finally:
                if shadow.outbox:
                    self._writer.offer()
            if self._several:
                # One of them may have held no data: OpenSSL passes over it to the next.
                self._writer.expect_answer()
            if not got:
                self._hungry = False
            if self._socket._selectable:
                self._stream.consumed(shadow.has_more())
            return got

    def _take_burst(self, deadline: Deadline) -> bytes:
        """Return all data records that lie in the kernel; none: OpenSSL got what else came."""
        if self._partial or not self._framed or self.watch is not None:
            self.feed(deadline)
            return b""
        try:
            timeout = deadline.remaining() if deadline.timeout else deadline.timeout
            records = read_records(self._kernel.fileno(), timeout)
        except BlockingIOError:
            raise self._want_read() from None
        except TimeoutError:
            raise deadline.expired() from None
        if not records:
            self.feed(deadline)
            return b""
        deadline.begun = True
        self._several = len(records) > HEADER_SIZE + (records[3] << 8 | records[4])
        return records

    def _next_record(self, deadline: Deadline) -> bytes:
        """Return a whole record; what is left of one at the end of the stream; then nothing.

        What cannot be a TLS record goes to OpenSSL as it comes, which knows why to refuse it.
        """
        while self._framed:
            have = len(self._partial)
            if have >= HEADER_SIZE and not plausible_header(self._partial):
                self._framed = False
                break
            want = HEADER_SIZE if have < HEADER_SIZE else record_size(self._partial)
            if have == want:
                break
            chunk = self._receive(want - have, deadline)
            if not chunk:
                break
            self._partial += chunk
        else:
            return self._receive(_UNFRAMED_LEN, deadline)
        record, self._partial = self._partial, b""
        return record

    def _receive(self, size: int, deadline: Deadline) -> bytes:
        if deadline.timeout:
            # The kernel's socket times each call; the first may use all the time there is.
            if deadline.begun:
                self._wait_readable(deadline)
            deadline.begun = True
        try:
            return self._kernel.recv(size)
        except BlockingIOError:
            raise self._want_read() from None
        except TimeoutError:
            raise deadline.expired() from None

    def _want_read(self) -> ssl.SSLWantReadError:
        if self._socket._selectable:
            self._stream.consumed(False)
        return _want_read()

    def _wait_readable(self, deadline: Deadline) -> None:
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._kernel.fileno(), select.POLLIN)
        left = deadline.remaining()
        if not self._poll.poll(None if left is None else left * 1000):
            raise deadline.expired()


def _want_read() -> ssl.SSLWantReadError:
    return ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)")
