"""The pool of native worker threads: when it starts, how it survives ``fork``, how it ends.

The threads themselves (``KTLS-0`` ...) are the engine's.  They start with the first ``Socket``, one
pool for the process; a forked child starts its own when it needs one.
"""

import atexit
import errno
import os
import sys
import threading
import warnings

from ktls import _core, policy
from ktls.sysctl import PREFIX, sysctl


class _Pool:
    """Whether the threads run, and why they could not be started."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running = False
        self.failure: OSError | None = None


_pool = _Pool()


def start() -> None:
    """Start the threads unless they run.

    Raises OSError: the first time with the system's reason, later ENXIO, as upstream.
    """
    if _pool.running:
        return
    with _pool.lock:
        if _pool.running:
            return
        if _pool.failure is not None:
            raise OSError(
                errno.ENXIO,
                f"the worker threads could not be started ({_pool.failure.strerror});"
                " raise the limit that it names and start the program again",
            )
        try:
            _core.start_workers(policy.worker_count(), sysctl.number(PREFIX + "bind_threads"))
        except OSError as error:
            _pool.failure = error
            raise
        _pool.running = True
        sysctl.boot(True)
        _drain_in_multiprocessing_child()


def running() -> bool:
    """Whether the threads have been started in this process."""
    return _pool.running


def drain() -> None:
    """Send what was accepted, within kern.ipc.tls.close_timeout, and end the threads."""
    timeout = sysctl.number(PREFIX + "close_timeout")
    if not _core.stop_workers(timeout):
        warnings.warn(
            f"accepted data was left unsent after {timeout} s; flush() connections before the end,"
            " or raise kern.ipc.tls.close_timeout",
            RuntimeWarning,
            stacklevel=2,
        )
    _pool.running = False
    sysctl.boot(False)


def _drain_in_multiprocessing_child() -> None:
    # A child of multiprocessing leaves by os._exit, which runs its own finalizers, not atexit's.
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        multiprocessing.util.Finalize(None, drain, exitpriority=0)


def _after_fork_in_child() -> None:
    global _pool
    _core.after_fork_in_child()
    _pool = _Pool()


os.register_at_fork(
    before=_core.before_fork,
    after_in_parent=_core.after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
atexit.register(drain)
