"""`SSLContext` and `create_default_context`: as in `ssl`, but `wrap_socket` gives a `TLSSocket`.

What else a context does is inherited: `wrap_bio`, and so asyncio, uvloop and trio, stay stock.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final, cast

from ktls.handover import context as handover
from ktls.tls_socket import TLSSocket, wrap_socket

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from _typeshed import ReadableBuffer, StrOrBytesPath


class SSLContext(ssl.SSLContext):
    """An `ssl.SSLContext` whose sockets are taken over, without `ktls.enable()`.

    A context of this type asks for the library by name, so the switch `kern.ipc.tls.enable`, which
    is for contexts that do not, is not asked.  All other policy holds, and `TLSSocket.why` says
    what came in the way.
    """

    sslsocket_class: Final = TLSSocket  # type: ignore[misc]  # `ssl` lets a subclass say it
    # What `handover.context.is_enabled` asks.
    _enables_ktls: Final = True

    @property  # type: ignore[override]  # the stub forgets None
    def keylog_filename(self) -> str | None:
        """The file that the user chose for secrets; the one in memory of this library is not it."""
        return handover.keylog_filename(self)

    @keylog_filename.setter
    def keylog_filename(self, path: Any) -> None:
        handover.set_keylog_filename(self, path)

    @property
    def sni_callback(self) -> Callable[..., Any] | None:
        """The user's callback, without what this library has put around it."""
        return handover.sni_callback(self)

    @sni_callback.setter
    def sni_callback(self, callback: Any) -> None:
        handover.set_sni_callback(self, callback)

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> TLSSocket:
        """Return a `TLSSocket` over `sock`, which is closed; arguments as in `ssl`.

        SSLError where the handshake fails, ValueError and TypeError for bad arguments, OSError
        EINVAL for a socket that is not TCP; see `ktls.wrap_socket`.
        """
        return wrap_socket(
            sock,
            self,
            server_side,
            do_handshake_on_connect,
            suppress_ragged_eofs,
            server_hostname,
            session,
        )


def create_default_context(
    purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH,
    *,
    cafile: StrOrBytesPath | None = None,
    capath: StrOrBytesPath | None = None,
    cadata: str | ReadableBuffer | None = None,
) -> SSLContext:
    """Return a `ktls.SSLContext` with the defaults of `ssl.create_default_context` of this Python.

    SSLError or OSError for authorities that cannot be loaded, TypeError for another `purpose`.
    """
    context = ssl.create_default_context(purpose, cafile=cafile, capath=capath, cadata=cadata)
    # `ssl` sets up its own class as this version of Python has it; the two differ in methods alone.
    context.__class__ = SSLContext
    return cast("SSLContext", context)
