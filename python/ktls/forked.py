"""What a forked child does before it closes: it sends what was accepted.

A child of `socketserver.ForkingMixIn`, and of much else, leaves by `os._exit` right behind its
`close`, and nothing drains in the background then.
"""

import socket
import struct
import sys
from typing import Final, Protocol

from ktls._core import fork_count
from ktls.sysctl import PREFIX, sysctl

_LINGER: Final = struct.Struct("ii")


class Draining(Protocol):
    """What is asked of a `ktls.Socket`."""

    @property
    def pending(self) -> int:
        """Bytes accepted and not yet taken by TCP."""

    def flush(self, timeout: float | None = None) -> None:
        """Wait until there are none."""

    def gettimeout(self) -> float | None:
        """As `socket.gettimeout`."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """As `socket.getsockopt`."""


def drain(sock: Draining) -> None:
    """Wait until TCP has what was accepted; nothing but in a forked child, on a blocking socket.

    Never fails: the connection may have, or makes no progress for `kern.ipc.tls.close_timeout`.
    Nothing either on the way out of a KeyboardInterrupt, which is in a hurry, and with SO_LINGER,
    which says how long `close` itself waits.
    """
    if not fork_count() or isinstance(sys.exc_info()[1], KeyboardInterrupt):
        return
    try:
        linger, _ = _LINGER.unpack(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.size)
        )
        if linger or sock.gettimeout() == 0:
            return
        _flush(sock)
    except OSError:
        # Whoever closes has no use for it; a connection of the parent's is EPERM, too.
        return


def _flush(sock: Draining) -> None:
    timeout = sysctl.number(PREFIX + "close_timeout")
    held = sock.pending
    while held:
        try:
            sock.flush(timeout)
        except TimeoutError:
            if sock.pending >= held:
                raise
        held = sock.pending
