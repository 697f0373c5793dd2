"""Stock handshakes of a prepared context: their secrets are wiped from the key log in memory.

A prepared context makes its `SSLObject`s and `SSLSocket`s of the classes of this file. Every call
that gets to OpenSSL sweeps the log at its end, whatever came of it, so that a handshake that fails,
or is given up half way, leaves nothing either. Reading and writing do so for good: they make the
handshake where nobody has asked for it, and a KeyUpdate of the peer has its next secrets logged.

Not here: handshakes of `ktls.wrap_socket`, whose lines the engine reads and wipes.
"""

import ssl
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Final, TypeVar

from ktls.handover.keylog import process_log

T = TypeVar("T")


def sweep_after_calls(context: ssl.SSLContext) -> None:
    """Have `wrap_socket` and `wrap_bio` of this context make objects that sweep the log.

    A class of the context's own, or of its user's, stays.
    """
    if context.sslobject_class is _STOCK_OBJECT:
        context.sslobject_class = _OBJECT
    if context.sslsocket_class is _STOCK_SOCKET:
        context.sslsocket_class = _SOCKET


def _sweeping(base: type[T], names: tuple[str, ...]) -> type[T]:
    """Return a class that looks like `base`, whose methods of these names sweep."""
    attributes: dict[str, Any] = {name: _method(getattr(base, name)) for name in names}
    for name in ("__module__", "__qualname__", "__doc__"):
        attributes[name] = getattr(base, name)
    made: type[T] = type(base.__name__, (base,), attributes | {"__slots__": ()})
    return made


def _method(function: Callable[..., T]) -> Callable[..., T]:
    @wraps(function)
    def method(self: Any, *arguments: Any, **keywords: Any) -> T:
        return _sweep_after(partial(function, self, *arguments, **keywords))

    return method


def _sweep_after(call: Callable[[], T]) -> T:
    try:
        log = process_log()
    except OSError:
        # A forked child that cannot make one of its own has nothing logged.
        return call()
    return log.reader.sweep_after(call)


_STOCK_OBJECT: Final = ssl.SSLObject
_STOCK_SOCKET: Final = ssl.SSLSocket
# `SSLSocket.send` does not go through `write`; all that reads goes through `read`.
_OBJECT: Final = _sweeping(_STOCK_OBJECT, ("do_handshake", "read", "write", "unwrap"))
_SOCKET: Final = _sweeping(_STOCK_SOCKET, ("do_handshake", "read", "write", "send", "unwrap"))
