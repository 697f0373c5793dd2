"""The pool of native worker threads: when it starts, and how it ends with the interpreter.

The threads themselves (``KTLS-0`` ...) are the engine's.  They start with the first ``Socket``, one
pool for the process; a forked child starts its own when it needs one.  Once the pool has ended,
every call does its own work.
"""

import atexit
import sys
import threading
import warnings

from ktls import _core, policy
from ktls.per_process import PerProcess
from ktls.sysctl import PREFIX, sysctl

# A signal handler may come back here in the middle.
_starting = PerProcess(threading.RLock)


def start() -> None:
    """Start the threads unless they run.

    Raises OSError with the system's reason; the next call tries again, unlike upstream.
    """
    if _core.workers_started():
        return
    with _starting():
        if not _core.workers_started():
            _core.start_workers(policy.worker_count(), sysctl.number(PREFIX + "bind_threads"))
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
            f" {timeout} s; close() connections before the end, or raise"
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
