"""ktls under eventlet: a green thread that waits lets the others run."""

import select
from typing import Any

from eventlet.hubs import trampoline

from ktls import waiting

__all__ = ["patch", "wait"]


def patch() -> None:
    """Have eventlet's hub wait for every call of ktls; once, after ``eventlet.monkey_patch()``."""
    waiting.set_wait_callback(wait)


def wait(sock: Any, events: int, timeout: float | None) -> None:
    """Wait in the hub; TimeoutError when the time is over.

    RuntimeError where two green threads wait for one socket to read, or to write, as eventlet says.
    """
    is_read = bool(events & select.POLLIN)
    trampoline(
        sock.fileno(), read=is_read, write=not is_read, timeout=timeout, timeout_exc=TimeoutError
    )
