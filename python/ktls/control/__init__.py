"""The process seen from outside: a socket in the user's runtime directory, for tools that ask.

Nothing is there before ``serve`` is called, or ``KTLS_CONTROL=1`` is in the environment when
``ktls`` is imported. ``docs/control.md`` says what can be asked, and by whom.
"""

import atexit
import os
import warnings

from ktls.control.server import ControlServer

__all__ = ["ControlServer", "serve"]

_server: ControlServer | None = None


def serve() -> ControlServer:
    """Serve the control socket of this process; the object that does, the same while it does.

    A forked child has none until it calls this itself. At the end of the interpreter the socket is
    removed.

    Raises OSError: EPERM for a directory that is not this user's alone, ENAMETOOLONG, EMFILE.
    """
    global _server
    if _server is None or _server.is_closed:
        _server = ControlServer()
    return _server


def serve_unless_impossible() -> None:
    """The same for ``KTLS_CONTROL=1``: what is in the way is a RuntimeWarning."""
    try:
        serve()
    except OSError as error:
        warnings.warn(
            f"KTLS_CONTROL=1, but there is no control socket: {error.strerror}",
            RuntimeWarning,
            stacklevel=2,
        )


def _close() -> None:
    if _server is not None:
        _server.close()


def _forget() -> None:
    global _server
    if _server is not None:
        _server.forget()
        _server = None


atexit.register(_close)
os.register_at_fork(after_in_child=_forget)
