"""The pool of native worker threads: when it starts, who is whose, and how it ends.

The threads themselves (``KTLS-0`` ...) are the engine's.  They start with the first ``Socket``, one
pool for the process; a forked child starts its own when it needs one.  A connection belongs to one
of them from its beginning to its end: by its addresses and ports, or as a function of the program
says.  Once the pool has ended, every call does its own work.
"""

import atexit
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ktls import _core, log, policy
from ktls.per_process import PerProcess
from ktls.sysctl import PREFIX, sysctl

if TYPE_CHECKING:
    import socket

_log: Final = log.logger("workers")

# A signal handler may come back here in the middle.
_starting = PerProcess(threading.RLock)


@dataclass(frozen=True, slots=True)
class Flow:
    """A new connection, as a queue policy sees it.

    Addresses are those of ``socket.getsockname`` and ``getpeername``; `remote` is None without a
    peer.  `queues` is the number of workers.
    """

    local: Any
    remote: Any
    queues: int


QueuePolicy: TypeAlias = Callable[[Flow], int]

_queue_policy: QueuePolicy | None = None


def set_queue_policy(choose: QueuePolicy | None) -> None:
    """Have this function choose the worker of each connection taken over from now on.

    It is called once for each, in the thread that takes the connection over, and returns a number
    from 0 to ``flow.queues - 1``.  When it raises an Exception or returns anything else, the queue
    is chosen as without it and the logger ``ktls.workers`` has the error.  None: by addresses and
    ports, as at first.

    Raises TypeError for what cannot be called.
    """
    global _queue_policy
    if choose is not None and not callable(choose):
        raise TypeError(f"a queue policy is a function of a Flow, not {choose!r}")
    _queue_policy = choose


def choose_queue(sock: "socket.socket") -> int | None:
    """What the policy says of this connection; None: the engine chooses."""
    choose = _queue_policy
    if choose is None:
        return None
    try:
        remote = sock.getpeername()
    except OSError:
        remote = None
    queues = _core.worker_count()
    try:
        queue: object = choose(Flow(sock.getsockname(), remote, queues))
    except Exception:
        _log.exception("the queue policy %r failed; the queue is chosen by the flow", choose)
        return None
    if not isinstance(queue, int) or not 0 <= queue < queues:
        _log.error(
            "the queue policy %r returned %r, not a number from 0 to %d; the queue is chosen by the"
            " flow",
            *(choose, queue, queues - 1),
        )
        return None
    return int(queue)


def start() -> None:
    """Start the threads unless they run.

    Raises OSError with the system's reason; the next call tries again, unlike upstream.
    """
    if _core.workers_started():
        return
    with _starting():
        if not _core.workers_started():
            binding = sysctl.number(PREFIX + "bind_threads")
            _core.start_workers(policy.worker_count(), binding)
            _log.info("started %d workers, bind_threads %d", _core.worker_count(), binding)
            _drain_in_multiprocessing_child()


def running() -> bool:
    """Whether the threads have been started in this process."""
    return _core.workers_started()


def drain() -> None:
    """Send what was accepted, within kern.ipc.tls.close_timeout, and end the threads.

    A ResourceWarning says what could not be sent.  A signal handler that raises, such as that of
    Ctrl-C, ends the wait.
    """
    timeout = sysctl.number(PREFIX + "close_timeout")
    begin = time.monotonic()
    raised = None
    try:
        unsent, connections = _core.stop_workers(timeout)
    except BaseException as error:  # whatever it is, it is raised when all is counted
        raised = error
        unsent, connections = _core.stop_workers(0)
    if _core.workers_started():
        _log.info("the workers have ended; %d bytes were not sent", unsent)
    if unsent:
        waited = timeout if raised is None else round(time.monotonic() - begin, 1)
        warnings.warn(
            f"{unsent} bytes that {connections} connection{'s' * (connections != 1)} had accepted"
            f" were not sent after {waited} s; abort() those whose peers do not read, or raise"
            " kern.ipc.tls.close_timeout",
            ResourceWarning,
            stacklevel=2,
        )
    if raised is not None and not isinstance(raised, KeyboardInterrupt):
        raise raised


def _drain_in_multiprocessing_child() -> None:
    # A child of multiprocessing leaves by os._exit, which runs its own finalizers, not atexit's.
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        multiprocessing.util.Finalize(None, drain, exitpriority=0)


atexit.register(drain)
