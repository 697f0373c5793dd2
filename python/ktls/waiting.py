"""Waits that the program makes itself: the callback, and calls that wait in a plain socket.

For loops such as gevent's and eventlet's, which stand still while anything waits natively. The
streams call the callback themselves (``rust/python/src/waiting.rs``); here are the calls that are
made of a plain socket, and the refusal to stop such a loop.
"""

from __future__ import annotations

import _socket
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any, TypeAlias

from ktls import _core
from ktls.errors import KTLSError

WaitCallback: TypeAlias = Callable[[Any, int, float | None], object]


def set_wait_callback(callback: WaitCallback | None, /) -> None:
    """Have `callback(sock, events, timeout)` wait wherever a call would wait; None: wait natively.

    `sock` is the object that the program called: its ``fileno()`` is for select, poll, epoll and
    the like (while a connection is made or accepted, and while ``close`` waits for SO_LINGER, it
    may be any object with a ``fileno``). `events` is ``select.POLLIN`` or ``select.POLLOUT``,
    `timeout` what is left in seconds, None: as long as it takes.

    The callback returns when `sock` is ready; it may return early, since the call looks again. When
    the time is over it returns or raises TimeoutError: both end the call as its own time-out does.
    Any other exception ends the call, as that of a signal handler: what was accepted stays accepted
    and what was received comes again. Nothing is held meanwhile: other greenlets and threads may
    call the same socket, and what they write goes in between, at the end of a record.

    It is one for the process. Waits that have begun go on as they began. Raises TypeError for what
    cannot be called.
    """
    if callback is not None and not callable(callback):
        raise TypeError(
            f"wait callback {callback!r} cannot be called; it is a function of sock, events and"
            " timeout, or None to wait natively"
        )
    _core.set_wait_callback(callback)


def get_wait_callback() -> WaitCallback | None:
    """What ``set_wait_callback`` set."""
    return _core.get_wait_callback()


def require_callback(timeout: float | None) -> None:
    """Refuse a socket that may wait where sockets are patched and no callback is set.

    Raises KTLSError, which names the call that is missing.
    """
    if timeout == 0 or _core.get_wait_callback() is not None:
        return
    library = _patched_by()
    if library is not None:
        raise KTLSError(
            f"{library} has patched sockets, and a call that waits would stop its hub: import"
            f" ktls.contrib.{library} and call its patch() once, after the monkey patch; or use a"
            " timeout of 0"
        )


def _patched_by() -> str | None:
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None and any(map(gevent.is_module_patched, ("socket", "ssl"))):
        return "gevent"
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("socket"):
        return "eventlet"
    return None


def original(module: str, name: str) -> Any:
    """What a module of the standard library has by this name where nobody has patched it."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None:
        return gevent.get_original(module, name)
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return getattr(eventlet.original(module), name)
    return getattr(sys.modules[module], name)


def original_ssl_socket() -> type[ssl.SSLSocket]:
    """``ssl.SSLSocket`` of the standard library, whoever has put another one in its place."""
    gevent = sys.modules.get("gevent.monkey")
    if gevent is not None:
        found: type[ssl.SSLSocket] = gevent.get_original("ssl", "SSLSocket")
        return found
    # eventlet's is a subclass.
    return next(kind for kind in ssl.SSLSocket.__mro__ if kind.__module__ == "ssl")


def connect(sock: Any, address: Any, waited_for: object = None) -> None:
    """As ``sock.connect``; `waited_for` is what the callback is given, else `sock`."""
    timeout = sock.gettimeout()
    callback = _callback_for(sock, timeout)
    if callback is None:
        sock.connect(address)
        return
    deadline = _deadline(timeout)
    # The library that waits may resolve names, too.
    address = _resolved(sock, address)
    sock.settimeout(0)
    try:
        while True:
            try:
                # Again while it is under way: the kernel says how it ended.
                sock.connect(address)
                return
            except BlockingIOError:
                _wait(callback, waited_for or sock, select.POLLOUT, deadline)
    finally:
        sock.settimeout(timeout)


def connect_ex(sock: Any, address: Any, waited_for: object = None) -> int:
    """As ``sock.connect_ex``."""
    if _callback_for(sock, sock.gettimeout()) is None:
        result: int = sock.connect_ex(address)
        return result
    try:
        connect(sock, address, waited_for)
    except TimeoutError as error:
        return error.errno or socket.EAGAIN
    except OSError as error:
        if error.errno is None:
            raise
        return error.errno
    return 0


def accept(sock: Any, waited_for: object = None) -> tuple[Any, Any]:
    """As ``sock.accept``."""
    timeout = sock.gettimeout()
    callback = _callback_for(sock, timeout)
    if callback is None:
        accepted: tuple[Any, Any] = sock.accept()
        return accepted
    deadline = _deadline(timeout)
    while True:
        sock.settimeout(0)
        try:
            return sock.accept()  # type: ignore[no-any-return]
        except BlockingIOError:
            pass
        finally:
            sock.settimeout(timeout)
        _wait(callback, waited_for or sock, select.POLLIN, deadline)


def _callback_for(sock: Any, timeout: float | None) -> WaitCallback | None:
    """None: `sock` waits by itself, as those of a patched module do, or not at all."""
    if timeout == 0 or not isinstance(sock, _socket.socket):
        return None
    return get_wait_callback()


def _wait(callback: WaitCallback, sock: object, event: int, deadline: float | None) -> None:
    left = None if deadline is None else deadline - time.monotonic()
    if left is not None and left <= 0:
        raise TimeoutError("timed out")
    callback(sock, event, left)


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _resolved(sock: Any, address: Any) -> Any:
    if not isinstance(address, tuple) or len(address) < 2:
        return address
    host, port, *rest = address
    found = socket.getaddrinfo(host, port, sock.family, sock.type, sock.proto)
    return (*found[0][4][:2], *rest)
