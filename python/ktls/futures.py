"""The futures of ``aio_write``, and the thread that ends them.

The engine keeps the future of every write that has not ended and says which have; the thread
``KTLS-aio`` waits for that without the interpreter, and takes all that ended meanwhile at once.  It
starts with the first write and ends with the interpreter, after what was accepted is sent.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

from ktls import _core, waiting, workers
from ktls.byte_view import byte_view
from ktls.per_process import PerProcess

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Writer(Protocol):
    """What makes an asynchronous write: a stream, or OpenSSL before it."""

    def async_write(self, data: ReadableBuffer, future: object, /) -> _core.AsyncWrite | None:
        """None: the write has ended already."""


class WriteFuture(Future[int]):
    """Ends with the number of bytes when TCP has taken the last one, or with an OSError.

    ``cancel`` takes the write back while nothing of it is framed. Callbacks run in the thread that
    ends futures, or in the one that called ``aio_write``, and hold up the others.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self._fork_count = _core.fork_count()
        self._pid = os.getpid()
        self.count = count
        self._write: _core.AsyncWrite | None = None

    def cancel(self) -> bool:
        """Take the write back; False when something of it was framed, or it has ended."""
        write = self._write
        if write is not None and write.cancel():
            # The thread does the same, should a signal handler raise here.
            self._end_cancelled()
        return self.cancelled()

    def end(self, outcome: object) -> None:
        """With the count, with the error of the connection, or cancelled (None)."""
        self._write = None
        if outcome is None:
            self._end_cancelled()
        elif isinstance(outcome, OSError):
            self.set_exception(outcome)
        else:
            self.set_result(self.count)

    def keep(self, write: _core.AsyncWrite) -> None:
        """Keep what takes the write back; it keeps nothing alive.

        Without the lock of the future, which a signal handler that raises may leave taken: a future
        that has ended meanwhile has no need of it, and does no harm with it.
        """
        self._write = write
        if self._state != "PENDING":
            self._write = None

    def is_free(self) -> bool:
        """Whether its lock can be had soon: those who wait for it hold it for moments."""
        free = self._condition.acquire(timeout=0.1)
        if free:
            self._condition.release()
        return free

    def result(self, timeout: float | None = None) -> int:
        """As ``Future.result``; OSError EPERM in a forked child, where it never ends."""
        self._require_own_process()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As ``Future.exception``; OSError EPERM in a forked child, where it never ends."""
        self._require_own_process()
        return super().exception(timeout)

    def _end_cancelled(self) -> None:
        if super().cancel():
            # Ended for those who wait for many: once, whoever comes first.
            with self._condition:
                if self._state == "CANCELLED":
                    self.set_running_or_notify_cancel()

    def _require_own_process(self) -> None:
        # Without the lock of the future: a thread that is not here may have held it.
        if self._fork_count != _core.fork_count() and self._state == "PENDING":
            raise OSError(
                errno.EPERM,
                f"the write belongs to process {self._pid}, which was forked; wait for it there",
            )


def write(writer: Writer, data: ReadableBuffer) -> Future[int]:
    """Hand `data` over; the future ends with its length.

    Errors are those of a send that was not accepted.
    """
    future = WriteFuture(len(byte_view(data)))
    _completions().start()
    unended = writer.async_write(data, future)
    if unended is None:
        future.end(future.count)
        return future
    future.keep(unended)
    return future


class _Thread:
    """The thread that ends futures, and whether it may still be started.

    It is started in one step of C, and takes its place by itself: a signal handler that raises in
    the middle of `threading.Thread.start` would leave a thread that dies, or one that is not known.
    """

    def __init__(self) -> None:
        # Those of the system: the locks of greenlets are not for two threads.
        new_lock = waiting.original("_thread", "allocate_lock")
        # Taken by the thread, once; another that was started beside it ends.
        self._place = new_lock()
        # Given back when the thread has ended.
        self._life = new_lock()
        self._life.acquire()
        self._stopped = False

    def start(self) -> None:
        """Start the thread unless it runs.  RuntimeError at the end of the interpreter."""
        if self._stopped:
            raise RuntimeError("cannot write asynchronously while the interpreter shuts down")
        if not self._place.locked():
            # A greenlet would wait natively, and its hub with it.
            waiting.original("_thread", "start_new_thread")(self._main, ())

    def stop(self) -> None:
        """Send what was accepted, end the futures, then the thread."""
        self._stopped = True
        if self._place.locked():
            try:
                workers.drain()
            finally:
                _core.stop_completions()
                with self._life:
                    pass

    def _main(self) -> None:
        if self._place.acquire(blocking=False):
            try:
                threading.current_thread().name = "KTLS-aio"
                _run()
            finally:
                self._life.release()


def _run() -> None:
    while ended := _core.wait_completions():
        for future, outcome in ended:
            # A signal handler that raised out of a wait may have left its lock taken for ever.
            if future.is_free():
                _end(future, outcome)
            else:
                threading.Thread(target=_end, args=(future, outcome), daemon=True).start()


def _end(future: WriteFuture, outcome: object) -> None:
    try:
        future.end(outcome)
    except BaseException:
        # A callback's SystemExit or the like; the others' futures must go on.
        sys.excepthook(*sys.exc_info())


_completions = PerProcess(_Thread)
atexit.register(lambda: _completions().stop())
