"""The pool of native worker threads: when it starts, and how it ends with the interpreter.

The threads themselves (``KTLS-0`` ...) are the engine's.  They start with the first ``Socket``, one
pool for the process; a forked child starts its own when it needs one.  Once the pool has ended,
every call does its own work.
"""

import atexit
import errno
import sys
import threading
import warnings

from ktls import _core, policy
from ktls.per_process import PerProcess
from ktls.sysctl import PREFIX, sysctl


class _Start:
    """What became of the start in this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.failure: OSError | None = None


_start = PerProcess(_Start)


def start() -> None:
    """Start the threads unless they run.

    Raises OSError: the first time with the system's reason, later ENXIO, as upstream.
    """
    if _core.workers_started():
        return
    attempt = _start()
    with attempt.lock:
        if _core.workers_started():
            return
        if attempt.failure is not None:
            raise OSError(
                errno.ENXIO,
                f"the worker threads could not be started ({attempt.failure.strerror});"
                " raise the limit that it names and start the program again",
            )
        try:
            _core.start_workers(policy.worker_count(), sysctl.number(PREFIX + "bind_threads"))
        except OSError as error:
            attempt.failure = error
            raise
        _drain_in_multiprocessing_child()


def running() -> bool:
    """Whether the threads have been started in this process."""
    return _core.workers_started()


def drain() -> None:
    """Send what was accepted, within kern.ipc.tls.close_timeout, and end the threads.

    A ResourceWarning says what could not be sent.
    """
    timeout = sysctl.number(PREFIX + "close_timeout")
    unsent, connections = _core.stop_workers(timeout)
    if unsent:
        warnings.warn(
            f"{unsent} bytes that {connections} connections had accepted were not sent after"
            f" {timeout} s; flush() connections before the end, or raise"
            " kern.ipc.tls.close_timeout",
            ResourceWarning,
            stacklevel=2,
        )


def _drain_in_multiprocessing_child() -> None:
    # A child of multiprocessing leaves by os._exit, which runs its own finalizers, not atexit's.
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        multiprocessing.util.Finalize(None, drain, exitpriority=0)


atexit.register(drain)
