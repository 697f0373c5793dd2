"""`SSLContext` and `create_default_context`: as in `ssl`, but `wrap_socket` gives a `TLSSocket`.

What else a context does is inherited: `wrap_bio`, and so asyncio, uvloop and trio, stay stock.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final, cast

from ktls.handover.context import prepare_enabled
from ktls.tls_socket import TLSSocket, wrap_socket

if TYPE_CHECKING:
    import socket

    from _typeshed import ReadableBuffer, StrOrBytesPath


class SSLContext(ssl.SSLContext):
    """An `ssl.SSLContext` whose sockets are taken over, without `ktls.enable()`.

    A context of this type asks for the library by name, so the switch `kern.ipc.tls.enable`, which
    is for contexts that do not, is not asked.  All other policy holds, and `TLSSocket.why` says
    what came in the way.
    """

    sslsocket_class: Final = TLSSocket  # type: ignore[misc]  # `ssl` lets a subclass say it

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
        prepare_enabled(self)
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
