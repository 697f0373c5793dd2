"""The options of a ``ktls.Socket``: FreeBSD's two, Linux's one, and those of any TCP socket."""

from __future__ import annotations

import errno
import socket
from operator import index
from typing import TYPE_CHECKING, Any

from ktls import constants as c
from ktls.constants import Mode
from ktls.params import TLSEnable
from ktls.sysctl import PREFIX, sysctl

if TYPE_CHECKING:
    from ktls._core import Stream
    from ktls.session import Slot


class Options:
    """``setsockopt``, ``getsockopt`` and the mode."""

    __slots__ = ()

    _engine: Stream
    _slot: Slot
    _sock: socket.socket

    def setsockopt(
        self, level: int, optname: int, value: Any, optlen: int | None = None, /
    ) -> None:
        """As ``socket.setsockopt``, and the options of KTLS.

        TCP_TXTLS_ENABLE takes a ``TLSEnable``, TCP_TXTLS_MODE a ``Mode``.  Errors of the two are
        OSError with upstream's errno, in upstream's order: for ENABLE EINVAL, EOPNOTSUPP (switched
        off), EALREADY, ENXIO, EPROTONOSUPPORT, ENOTCONN; for MODE EINVAL and ENXIO. Setting a mode
        without a session does nothing, as upstream.

        ``(SOL_TLS, TLS_TX_MAX_PAYLOAD_LEN)``, Linux's, takes the most payload bytes of the records
        to come: 64 (63 in TLS 1.3) to what the peer allows, else EINVAL; EBUSY while a record is
        open.
        """
        if (level, optname) == (c.SOL_TLS, c.TLS_TX_MAX_PAYLOAD_LEN):
            self._slot.limit_frames(self._engine, index(value))
            return
        if level != c.IPPROTO_TCP or not c.TCP_TXTLS_ENABLE <= optname <= c.TCP_RXTLS_MODE:
            if optlen is None:
                self._sock.setsockopt(level, optname, value)
            else:
                self._sock.setsockopt(level, optname, value, optlen)
            return
        match optname:
            case c.TCP_TXTLS_ENABLE:
                if not isinstance(value, TLSEnable):
                    raise TypeError(
                        f"TCP_TXTLS_ENABLE takes a ktls.TLSEnable, not {type(value).__name__}"
                    )
                self._slot.enable(self._engine, value, listening=self._listening())
                self._fragment()
            case c.TCP_TXTLS_MODE:
                self._set_mode(value)
            case _:
                raise OSError(errno.ENOPROTOOPT, _no_option(optname))

    def getsockopt(self, level: int, optname: int, buflen: int = 0, /) -> int | bytes:
        """As ``socket.getsockopt``; TCP_TXTLS_MODE answers a ``Mode``, listening EINVAL."""
        if (level, optname) == (c.SOL_TLS, c.TLS_TX_MAX_PAYLOAD_LEN):
            return self._slot.frame_limit()
        if level != c.IPPROTO_TCP or not c.TCP_TXTLS_ENABLE <= optname <= c.TCP_RXTLS_MODE:
            return self._sock.getsockopt(level, optname, buflen)
        if optname != c.TCP_TXTLS_MODE:
            raise OSError(errno.ENOPROTOOPT, _no_option(optname))
        if self._listening():
            raise OSError(errno.EINVAL, "a listening socket has no TLS mode; ask an accepted one")
        return self._slot.mode

    @property
    def mode(self) -> Mode:
        """Who seals: NONE before the keys are installed."""
        return self._slot.mode

    def _set_mode(self, value: object) -> None:
        if not isinstance(value, int):
            raise TypeError(f"TCP_TXTLS_MODE takes a ktls.Mode, not {type(value).__name__}")
        if self._listening():
            raise OSError(errno.EINVAL, "a listening socket has no TLS mode; set an accepted one's")
        if value not in (Mode.SW, Mode.IFNET):
            raise OSError(
                errno.EINVAL, f"mode {int(value)} cannot be set; set Mode.SW (1) or Mode.IFNET (2)"
            )
        if self._slot.session is None or value == self._slot.mode:
            return
        sysctl.count(PREFIX + "stats.switch_failed")
        raise OSError(errno.ENXIO, "no interface offers TLS; the session stays in Mode.SW")

    def _listening(self) -> bool:
        return bool(self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))

    def _fragment(self) -> None:
        """The session is new: put before writes what it wants to precede them."""
        raise NotImplementedError


def _no_option(optname: int) -> str:
    if optname == c.TCP_TXTLS_ENABLE:
        return "TCP_TXTLS_ENABLE can be set only; ask TCP_TXTLS_MODE whether it is"
    return f"option {optname} belongs to the receive side of KTLS, which is not there"
