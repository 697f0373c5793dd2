"""ktls under gevent: a greenlet that waits lets the others run."""

import select
from typing import Any

from gevent import socket

from ktls import waiting

__all__ = ["patch", "wait"]


def patch() -> None:
    """Have gevent's hub wait for every call of ktls; once, after ``gevent.monkey.patch_all()``."""
    waiting.set_wait_callback(wait)


def wait(sock: Any, events: int, timeout: float | None) -> None:
    """Wait in the hub; TimeoutError when the time is over."""
    wait_for = socket.wait_read if events & select.POLLIN else socket.wait_write
    wait_for(sock.fileno(), timeout, TimeoutError("timed out"))
