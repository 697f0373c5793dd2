"""TCP_TXTLS_MODE: who seals what is framed from now on, this library or a network interface.

The algorithm of upstream's ``ktls_set_tx_mode``: a clone of the session is offered to whoever is to
seal, and takes the place of the session if that is still the one that was cloned.  The sequence
number belongs to the stream, so nothing of it is copied; what was framed before keeps its session.
No interface comes with this version; one that can seal joins by ``attach``.
"""

import errno
from dataclasses import replace
from typing import Final, Protocol

from ktls import log
from ktls.constants import Mode
from ktls.session import Session, Slot
from ktls.sysctl import PREFIX, sysctl

_log: Final = log.logger("tx_mode")


class Interface(Protocol):
    """A network interface that can seal (upstream's send tags)."""

    name: str

    def try_session(self, session: Session) -> None:
        """Take `session`, whose mode is IFNET.  Raises OSError when it cannot: EOPNOTSUPP, ..."""


_interfaces: tuple[Interface, ...] = ()


def attach(interface: Interface) -> None:
    """Ask this one, too, after those that are there."""
    global _interfaces
    _interfaces = (*_interfaces, interface)


def detach(interface: Interface) -> None:
    """Ask it no more; sessions that it has taken stay with it."""
    global _interfaces
    _interfaces = tuple(other for other in _interfaces if other is not interface)


def switch(slot: Slot, mode: Mode) -> None:
    """Have SW or IFNET seal; nothing without a session, or when it is so already.

    Raises OSError, and the connection goes on as before: ENXIO without an interface, what the last
    interface that was asked said, EBUSY when the session changed meanwhile.
    """
    old = slot.session
    if old is None or old.mode is mode:
        return
    new = replace(old, mode=mode)
    try:
        if mode is Mode.IFNET:
            _offer(new)
        if not slot.exchange(old, new):
            raise OSError(errno.EBUSY, "the session changed while its mode was switched; try again")
    except OSError as error:
        sysctl.count(PREFIX + "stats.switch_failed")
        _log.info("switch to %s failed: %s", mode.name, error.strerror)
        raise
    sysctl.count(PREFIX + f"stats.switch_to_{mode.name.lower()}")
    _log.info("switched from %s to %s: %s", old.mode.name, mode.name, old)


def _offer(session: Session) -> None:
    refusal = OSError(errno.ENXIO, "no interface offers TLS; the session stays in Mode.SW")
    for interface in _interfaces:
        try:
            interface.try_session(session)
        except OSError as error:
            refusal = error
        else:
            return
    raise refusal
