"""The end of a handshake: whether its keys are taken over, by the policy of this process.

OpenSSL makes the handshake, and the engine takes the keys over in one step; here is the decision,
and the reason where it is no.
"""

import errno
import ssl
from typing import Final

from ktls._core import OpenSSLSide
from ktls.constants import Mode
from ktls.errors import HandoverDeclined, HandoverError
from ktls.session import Slot
from ktls.sysctl import PREFIX, sysctl

from .context import follow, prepared

__all__ = ["Handshake"]

_REFUSALS: Final = frozenset({errno.EOPNOTSUPP, errno.ENXIO, errno.EPROTONOSUPPORT, errno.EINVAL})
"""Errors of an installation that say that policy or a backend does not want the connection."""


class Handshake:
    """Runs once; `settled` afterwards.  What was interrupted is done by the next call."""

    def __init__(
        self, slot: Slot, ssl_object: ssl.SSLObject, side: OpenSSLSide, *, server_side: bool
    ) -> None:
        self._slot = slot
        self._ssl_object = ssl_object
        self._side = side
        self._server_side = server_side
        self._refusal: str | None = None
        self._failure: HandoverError | None = None
        self._why = "the handshake is not finished"
        self.settled = False

    @property
    def mode(self) -> Mode:
        """Who seals what is sent."""
        return self._slot.mode

    @property
    def why(self) -> str:
        """Why OpenSSL seals, in words; empty when it does not."""
        return "" if self._slot.session is not None else self._why

    def run(self) -> None:
        """Do what is left of the handshake; nothing when it is settled.

        Errors as `SSLSocket.do_handshake`; HandoverError when the context was changed since it was
        prepared (nothing was sent then), or when the keys could not be taken over (the connection
        is reset then).
        """
        if self.settled:
            return
        if self._failure is not None:
            raise self._failure
        if self._refusal is None:
            self._begin()
        try:
            self._side.do_handshake()
            self._settle()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, TimeoutError):
            raise
        except HandoverError as error:
            self._failure = error
            raise
        except OSError:
            self._side.release_logs()
            raise

    def _begin(self) -> None:
        state = prepared(self._ssl_object.context, self._server_side)
        if state.log is not None:
            self._side.follow(state.log.reader)
            follow(self._ssl_object, self._side)
        self._refusal = state.refusal

    def _settle(self) -> None:
        if self._slot.session is None:
            try:
                self._take_over()
            except HandoverDeclined as reason:
                self._why = str(reason)
                self._side.decline()
        self.settled = True

    def _take_over(self) -> None:
        if not sysctl[PREFIX + "enable"]:
            raise HandoverDeclined("kern.ipc.tls.enable is off: call ktls.enable() or set it to 1")
        if self._refusal:
            raise HandoverDeclined(self._refusal)
        cipher = self._ssl_object.cipher()
        found = self._side.find(cipher[0] if cipher else None)
        if found is None:
            return
        try:
            session = self._slot.plan(found)
            # Installed before OpenSSL is one record ahead: a refusal leaves it in charge.
            switched = self._side.switch(found, session.record_params, session)
        except OSError as error:
            if self._slot.session is not None:
                # Another thread came first.
                return
            if error.errno in _REFUSALS:
                raise HandoverDeclined(error.strerror or str(error)) from None
            raise
        if switched:
            sysctl.count(PREFIX + "stats.offload_total")
