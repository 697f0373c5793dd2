"""Stock handshakes of a prepared context: their secrets are wiped from the key log in memory.

A prepared context makes its `SSLObject`s and `SSLSocket`s of a class of this file. Every call that
may be part of the handshake sweeps the log at its end, whatever came of it, so that a handshake
that fails, or is given up half way, leaves nothing either. When the handshake is finished the
object becomes what it looks like, an `ssl.SSLObject` or `ssl.SSLSocket` and nothing else: nothing
is logged from then on, and reading and writing cost what they always do.

Not here: handshakes of `ktls.wrap_socket`, whose lines the engine reads and wipes.
"""

import ssl
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Final, TypeVar

from .keylog import process_log

__all__ = ["sweep_after_handshakes"]

T = TypeVar("T")


def sweep_after_handshakes(context: ssl.SSLContext) -> None:
    """Have `wrap_socket` and `wrap_bio` of this context make objects that sweep the log.

    A class of the context's own, or of its user's, stays.
    """
    if context.sslobject_class is _STOCK_OBJECT:
        context.sslobject_class = _OBJECT
    if context.sslsocket_class is _STOCK_SOCKET:
        context.sslsocket_class = _SOCKET


def _sweeping(base: type[T], names: tuple[str, ...]) -> type[T]:
    """Return a class that looks like `base`; the methods of these names shake hands, perhaps."""
    attributes: dict[str, Any] = {name: _method(base, getattr(base, name)) for name in names}
    for name in ("__module__", "__qualname__", "__doc__"):
        attributes[name] = getattr(base, name)
    # Without slots of its own an instance can become one of `base`.
    return type(base)(base.__name__, (base,), attributes | {"__slots__": ()})


def _method(base: type, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def method(self: Any, *arguments: Any, **keywords: Any) -> Any:
        try:
            return _sweep_after(partial(function, self, *arguments, **keywords))
        finally:
            inner = self._sslobj
            if inner is not None and inner.version() is not None:
                self.__class__ = base

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
# Reading and writing make the handshake where nobody has asked for it. `SSLSocket.send` does not go
# through `write`, all its other ways of writing through one of the two, those of reading through
# `read`.
_OBJECT: Final = _sweeping(_STOCK_OBJECT, ("do_handshake", "read", "write"))
_SOCKET: Final = _sweeping(_STOCK_SOCKET, ("do_handshake", "read", "write", "send"))
