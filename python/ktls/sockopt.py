"""The options of KTLS: FreeBSD's four and Linux's one, checked and carried out."""

from __future__ import annotations

import errno
from operator import index
from typing import TYPE_CHECKING, Any

from ktls import constants as c
from ktls import tx_mode
from ktls.constants import Mode
from ktls.params import TLSEnable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ktls._core import SendStream
    from ktls.rx_session import RxSlot
    from ktls.session import Slot


def is_ours(level: int, optname: int) -> bool:
    """Whether the option is one of KTLS, which the kernel does not know."""
    if level == c.IPPROTO_TCP:
        return c.TCP_TXTLS_ENABLE <= optname <= c.TCP_RXTLS_MODE
    return (level, optname) == (c.SOL_TLS, c.TLS_TX_MAX_PAYLOAD_LEN)


def set_option(
    slot: Slot, stream: SendStream, optname: int, value: Any, is_listening: Callable[[], bool]
) -> None:
    """The work of ``Socket.setsockopt``, which documents it."""
    match optname:
        case c.TLS_TX_MAX_PAYLOAD_LEN:
            slot.limit_frames(index(value))
        case c.TCP_TXTLS_ENABLE:
            stream.check_process()
            slot.enable(_enable(value, "TCP_TXTLS_ENABLE"), listening=is_listening())
        case c.TCP_TXTLS_MODE:
            stream.check_process()
            _set_mode(slot, value, is_listening)
        case _:
            raise OSError(errno.ENOPROTOOPT, _no_option(optname))


def enable_receiving(
    slot: RxSlot,
    stream: SendStream,
    value: object,
    is_listening: Callable[[], bool],
    low_water: int,
) -> None:
    """TCP_RXTLS_ENABLE; `low_water` is SO_RCVLOWAT so far."""
    stream.check_process()
    slot.enable(_enable(value, "TCP_RXTLS_ENABLE"), is_listening=is_listening, low_water=low_water)


def get_option(slot: Slot, rx_slot: RxSlot, optname: int, is_listening: Callable[[], bool]) -> int:
    """The work of ``Socket.getsockopt``, which documents it."""
    if optname == c.TLS_TX_MAX_PAYLOAD_LEN:
        return slot.frame_limit()
    if optname not in (c.TCP_TXTLS_MODE, c.TCP_RXTLS_MODE):
        raise OSError(errno.ENOPROTOOPT, _no_option(optname))
    if is_listening():
        raise OSError(errno.EINVAL, "a listening socket has no TLS mode; ask an accepted one")
    return slot.mode if optname == c.TCP_TXTLS_MODE else rx_slot.mode


def _enable(value: object, option: str) -> TLSEnable:
    if not isinstance(value, TLSEnable):
        raise TypeError(f"{option} takes a ktls.TLSEnable, not {type(value).__name__}")
    return value


def _set_mode(slot: Slot, value: object, is_listening: Callable[[], bool]) -> None:
    if not isinstance(value, int):
        raise TypeError(f"TCP_TXTLS_MODE takes a ktls.Mode, not {type(value).__name__}")
    if is_listening():
        raise OSError(errno.EINVAL, "a listening socket has no TLS mode; set an accepted one's")
    if value not in (Mode.SW, Mode.IFNET):
        raise OSError(
            errno.EINVAL, f"mode {int(value)} cannot be set; set Mode.SW (1) or Mode.IFNET (2)"
        )
    tx_mode.switch(slot, Mode(value))


def _no_option(optname: int) -> str:
    match optname:
        case c.TCP_TXTLS_ENABLE:
            return "TCP_TXTLS_ENABLE can be set only; ask TCP_TXTLS_MODE whether it is"
        case c.TCP_RXTLS_ENABLE:
            return "TCP_RXTLS_ENABLE can be set only; ask TCP_RXTLS_MODE whether it is"
        case _:
            return "TCP_RXTLS_MODE can be asked only; records are opened by software"
