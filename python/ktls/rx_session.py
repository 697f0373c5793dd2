"""The session of the receive side: TCP_RXTLS_ENABLE, checked in FreeBSD's order, and rekeying.

The keys and the number of the next record live in the engine's ``RecvStream``, which keeps the
session beside them.
"""

from __future__ import annotations

import errno
import functools
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ktls import _core, backends, params, policy
from ktls import constants as c
from ktls.constants import Mode
from ktls.session_keys import first_keys, next_keys
from ktls.sysctl import PREFIX, sysctl

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    from ktls.params import TLSEnable


@dataclass(frozen=True, slots=True)
class RxSession:
    """What the receive direction of one connection agreed on when its keys were installed."""

    tls_vminor: int
    cipher_algorithm: int
    key_len: int
    backend: str
    provider: _core.Provider
    mode: Mode = Mode.SW

    def __str__(self) -> str:
        suite = params.suite_name(self.tls_vminor, self.cipher_algorithm, self.key_len)
        return f"{suite}, opened by {self.backend}"


class RxSlot:
    """Where a socket's receive session is: empty, then one session until the end."""

    __slots__ = ("stream",)

    def __init__(self, stream: _core.RecvStream) -> None:
        self.stream = stream

    @property
    def session(self) -> RxSession | None:
        """None while empty."""
        session: RxSession | None = self.stream.session
        return session

    @property
    def mode(self) -> Mode:
        """Who opens records."""
        session = self.session
        return Mode.NONE if session is None else session.mode

    def enable(self, en: TLSEnable, *, is_listening: Callable[[], bool], low_water: int) -> None:
        """TCP_RXTLS_ENABLE.  Raises OSError with upstream's errno, checked in upstream's order.

        `low_water` is the SO_RCVLOWAT of before, which counts plaintext from now on.
        """
        params.check_lengths(en)
        _require_rx_enable()
        policy.admit()
        session = self.session
        if session is not None:
            raise OSError(
                errno.EALREADY,
                f"the socket has a session to receive already ({session}); it stays",
            )
        params.check(en, cbc_enable=bool(sysctl[PREFIX + "cbc_enable"]))
        session = _create(en)
        if is_listening():
            raise OSError(
                errno.EINVAL, "the socket is listening; enable TLS on the sockets it accepts"
            )
        direction = first_keys(en)
        self.stream.set_low_water(low_water)
        self.stream.install(direction, session.provider, session)
        sysctl.count(PREFIX + "stats.offload_total")

    def plan(self, handover: _core.Handover) -> RxSession:
        """The session of a handshake that is taken over: the same checks of policy.

        Raises OSError as ``enable``.
        """
        _require_rx_enable()
        if handover.cipher_algorithm == c.CRYPTO_AES_CBC and not sysctl[PREFIX + "cbc_enable"]:
            raise params.cbc_is_off()
        suite = (handover.tls_vminor, handover.cipher_algorithm, handover.key_len)
        backend, provider = backends.choose(*suite, opens=True)
        return _interned(RxSession(*suite, backend.name, provider))

    def rekey(self, new: ReadableBuffer | TLSEnable) -> None:
        """Open what was not opened yet with other keys; see ``Socket.rekey_rx``."""
        session = self.session
        if session is None:
            raise OSError(errno.EINVAL, "there is no session to rekey; set TCP_RXTLS_ENABLE before")
        self.stream.rekey(next_keys(session, new), session.provider)


@functools.lru_cache(maxsize=64)
def _interned(session: RxSession) -> RxSession:
    """The one object of these values: most connections agree on the same."""
    return session


def _require_rx_enable() -> None:
    if not sysctl[PREFIX + "rx_enable"]:
        raise OSError(
            errno.EOPNOTSUPP, "kern.ipc.tls.rx_enable is off; set it to 1 to receive with KTLS"
        )


def _create(en: TLSEnable) -> RxSession:
    """Who opens."""
    key_len = len(en.cipher_key)
    params.check_key_len(en.cipher_algorithm, key_len)
    if en.tls_vminor == c.TLS_MINOR_VER_ZERO:
        raise OSError(
            errno.EPROTONOSUPPORT,
            "TLS 1.0 is sent only: the IV of a record is the end of one that may have been lost;"
            " use TLS 1.1 or later",
        )
    backend, provider = backends.choose(en.tls_vminor, en.cipher_algorithm, key_len, opens=True)
    return RxSession(en.tls_vminor, en.cipher_algorithm, key_len, backend.name, provider)


def is_low_water(level: int, optname: int) -> bool:
    """Whether the option is SO_RCVLOWAT, which counts plaintext with a session."""
    return (level, optname) == (socket.SOL_SOCKET, socket.SO_RCVLOWAT)
