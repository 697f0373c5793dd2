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

    def __init__(self, stream: Stream, count: int, *, cancellable: bool) -> None:
        super().__init__()
        self._stream = stream
        self._cancellable = cancellable
        self._pid = os.getpid()
        self.id = next(_ids)
        self.count = count

    def cancel(self) -> bool:
        """Take the write back; False when something of it was framed, or it has ended."""
        if self._cancellable and self._stream.cancel_aio(self.id):
            _thread.pending.pop(self.id, None)
            super().cancel()
            self.set_running_or_notify_cancel()
        return self.cancelled()

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
        if os.getpid() != self._pid and self._state != "FINISHED":
            raise OSError(
                errno.EPIPE,
                "the write belongs to the parent process; wait for it there",
            )


def write(
    stream: Stream,
    data: ReadableBuffer,
    *,
    lead: int | None = None,
    count: int | None = None,
    cancellable: bool = True,
) -> Future[int]:
    """Hand `data` to the stream; the future ends with `count`, or with its length.

    `lead` as in ``Stream.aio_write``.  Errors are those of a send that was not accepted.
    """
    future = WriteFuture(
        stream,
        memoryview(data).nbytes if count is None else count,
        cancellable=cancellable,
    )
    _thread.start()
    _thread.pending[future.id] = future
    try:
        ended = stream.aio_write(future.id, data, lead)
    except BaseException:
        del _thread.pending[future.id]
        raise
    if ended:
        del _thread.pending[future.id]
        future.set_result(future.count)
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
                    if isinstance(outcome, OSError):
                        future.set_exception(outcome)
                    else:
                        future.set_result(future.count)
                except BaseException:
                    # A callback's SystemExit or the like; the others' futures must go on.
                    sys.excepthook(*sys.exc_info())


_thread = _Thread()


def _after_fork_in_child() -> None:
    global _thread
    _thread = _Thread()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(lambda: _thread.stop())
