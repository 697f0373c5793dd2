"""The futures of ``aio_write``, and the one thread that ends them.

The engine says which writes have ended; the thread ``KTLS-aio`` waits for that without the
interpreter, and takes all that ended meanwhile at once.  It starts with the first write and ends
with the interpreter, after what was accepted is sent.
"""

from __future__ import annotations

import atexit
import errno
import itertools
import os
import sys
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeAlias

from ktls import _core, workers
from ktls.byte_view import byte_view
from ktls.fragments import Fragmenting

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Stream: TypeAlias = _core.Stream | Fragmenting

_ids: Final = itertools.count(1)


class WriteFuture(Future[int]):
    """Ends with the number of bytes when TCP has taken the last one, or with an OSError.

    ``cancel`` takes the write back while nothing of it is framed. Callbacks run in the thread that
    ends futures, or in the one that called ``aio_write``, and hold up the others.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self._pid = os.getpid()
        self._taking_back = threading.Lock()
        self._taken_back = False
        self.id = next(_ids)
        self.count = count
        self.write: _core.AioWrite | None = None

    def cancel(self) -> bool:
        """Take the write back; False when something of it was framed, or it has ended."""
        with self._taking_back:
            write = self.write
            if write is not None and not self._taken_back:
                self._taken_back = write.cancel()
        if not self._taken_back:
            return False
        first = _thread.pending.pop(self.id, None)
        super().cancel()
        if first is not None:
            self.set_running_or_notify_cancel()
        return True

    def end(self, error: OSError | None) -> None:
        """With the count, or the error of the connection."""
        # It would keep the connection's descriptor.
        self.write = None
        if error is None:
            self.set_result(self.count)
        else:
            self.set_exception(error)

    def result(self, timeout: float | None = None) -> int:
        """As ``Future.result``; OSError EPIPE in a forked child, where it never ends."""
        self._require_own_process()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As ``Future.exception``; OSError EPIPE in a forked child, where it never ends."""
        self._require_own_process()
        return super().exception(timeout)

    def _require_own_process(self) -> None:
        # Without the lock of the future: a thread that is not here may have held it.
        if os.getpid() != self._pid and self._state == "PENDING":
            raise OSError(
                errno.EPIPE,
                "the write belongs to the parent process; wait for it there",
            )


def write(
    stream: Stream,
    data: ReadableBuffer,
    *,
    count: int | None = None,
    cancellable: bool = True,
) -> Future[int]:
    """Hand `data` to the stream; the future ends with `count`, or with its length.

    Errors are those of a send that was not accepted.
    """
    future = WriteFuture(len(byte_view(data)) if count is None else count)
    _thread.start()
    _thread.pending[future.id] = future
    try:
        unended = stream.aio_write(future.id, data)
    except BaseException:
        del _thread.pending[future.id]
        raise
    if unended is None:
        del _thread.pending[future.id]
        future.end(None)
    elif cancellable:
        future.write = unended
    return future


class _Thread:
    """The thread, and the futures that it has to end."""

    def __init__(self) -> None:
        self.pending: dict[int, WriteFuture] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def start(self) -> None:
        """Start the thread unless it runs.  RuntimeError at the end of the interpreter."""
        if self._thread is not None and not self._stopped:
            return
        with self._lock:
            if self._stopped:
                raise RuntimeError("cannot write asynchronously while the interpreter shuts down")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="KTLS-aio", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Send what was accepted, end the futures, then the thread."""
        with self._lock:
            self._stopped = True
        if self._thread is not None:
            try:
                workers.drain()
            finally:
                _core.stop_aio()
                self._thread.join()

    def _run(self) -> None:
        while ended := _core.aio_completions():
            for number, outcome in ended:
                future = self.pending.pop(number)
                try:
                    future.end(outcome if isinstance(outcome, OSError) else None)
                except BaseException:
                    # A callback's SystemExit or the like; the others' futures must go on.
                    sys.excepthook(*sys.exc_info())


_thread = _Thread()


def _after_fork_in_child() -> None:
    global _thread
    _thread = _Thread()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(lambda: _thread.stop())
