"""The end of a handshake: whether its keys are taken over, by the policy of this process.

OpenSSL makes the handshake, and the engine takes the keys over in one step; here is the decision,
and the reason where it is no.
"""

import errno
import ssl
from typing import Any, Final

from ktls import log
from ktls._core import Handover, OpenSSLSide, Reading
from ktls.constants import Mode
from ktls.errors import HandoverDeclined, HandoverError
from ktls.handover.context import follow, is_enabled, prepared, unfollow
from ktls.socket import Socket
from ktls.sysctl import PREFIX, sysctl

_log: Final = log.logger("handover")

_REFUSALS: Final = frozenset({errno.EOPNOTSUPP, errno.ENXIO, errno.EPROTONOSUPPORT, errno.EINVAL})
"""Errors of an installation that say that policy or a backend does not want the connection."""


class Handshake:
    """Runs once; `settled` afterwards.  What was interrupted is done by the next call."""

    __slots__ = (
        "_failure",
        "_has_post_handshake_auth",
        "_is_enabled",
        "_refusal",
        "_rx_slot",
        "_rx_why",
        "_server_side",
        "_side",
        "_slot",
        "_ssl_object",
        "_why",
        "settled",
    )

    def __init__(
        self, sock: Socket, ssl_object: ssl.SSLObject, side: OpenSSLSide, *, server_side: bool
    ) -> None:
        self._slot = sock._slot
        self._rx_slot = sock._rx_slot
        self._ssl_object: ssl.SSLObject | None = ssl_object
        self._side: OpenSSLSide | None = side
        self._server_side = server_side
        self._refusal: str | None = None
        self._is_enabled = False
        self._has_post_handshake_auth = False
        self._failure: HandoverError | None = None
        self._why = self._rx_why = "the handshake is not finished"
        self.settled = False

    @property
    def mode(self) -> Mode:
        """Who seals what is sent."""
        return self._slot.mode

    @property
    def rx_mode(self) -> Mode:
        """Who opens what is received."""
        return self._rx_slot.mode

    @property
    def why(self) -> str:
        """Why OpenSSL seals, in words; empty when it does not."""
        return "" if self._slot.session is not None else self._why

    @property
    def rx_why(self) -> str:
        """Why OpenSSL opens, in words; empty when it does not."""
        return "" if self._rx_slot.session is not None else self._rx_why

    @property
    def has_begun(self) -> bool:
        """Whether the context was used: a callback of it runs, perhaps."""
        return self._refusal is not None

    @property
    def is_done_with_openssl(self) -> bool:
        """Whether nobody needs OpenSSL any more."""
        ssl_object = self._ssl_object
        return (
            self.settled
            and ssl_object is not None
            and self.rx_mode is not Mode.NONE
            and not (self._wants_session(ssl_object) or self._has_post_handshake_auth)
        )

    @property
    def ssl_object(self) -> ssl.SSLObject | None:
        """OpenSSL's end of the connection; None once it was let go."""
        return self._ssl_object

    def forget_openssl(self) -> None:
        """Let go of it."""
        self._ssl_object = self._side = None

    def run(self) -> None:
        """Do what is left of the handshake; nothing when it is settled.

        Errors as `SSLSocket.do_handshake`; HandoverError when the keys could not be taken over (the
        connection is reset then).
        """
        ssl_object, side = self._ssl_object, self._side
        if self.settled or ssl_object is None or side is None:
            return
        if self._failure is not None:
            raise self._failure
        if self._refusal is None:
            self._begin(ssl_object, side)
        try:
            side.do_handshake()
            self._settle(ssl_object, side)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, TimeoutError):
            raise
        except HandoverError as error:
            self._failure = error
            _log.warning("a connection was reset in its hand-over: %s", error)
            raise
        except OSError as error:
            if error.errno == errno.EDEADLK:
                # Of a callback in the middle: the handshake goes on.
                raise
            side.release_logs()
            unfollow(_owner(ssl_object))
            raise

    def _begin(self, ssl_object: ssl.SSLObject, side: OpenSSLSide) -> None:
        state = prepared(ssl_object.context, self._server_side)
        if state.log is not None:
            side.follow(state.log.reader)
            follow(_owner(ssl_object), side)
        self._is_enabled = is_enabled(ssl_object.context)
        self._refusal = state.refusal

    def _settle(self, ssl_object: ssl.SSLObject, side: OpenSSLSide) -> None:
        if self._slot.session is None:
            try:
                self._take_over(ssl_object, side)
            except HandoverDeclined as reason:
                self._why = self._rx_why = str(reason)
                side.decline()
        unfollow(_owner(ssl_object))
        self.settled = True
        if self.why:
            _log.info("OpenSSL keeps a connection: %s", self.why)
        elif self.rx_why:
            _log.info("OpenSSL keeps the receive side of a connection: %s", self.rx_why)

    def _take_over(self, ssl_object: ssl.SSLObject, side: OpenSSLSide) -> None:
        # A ktls.SSLContext asks for this library by its type; the switch is for all the others.
        if not self._is_enabled and not sysctl[PREFIX + "enable"]:
            raise HandoverDeclined(
                "kern.ipc.tls.enable is off: call ktls.enable(), set it to 1, or use a"
                " ktls.SSLContext"
            )
        if self._refusal:
            raise HandoverDeclined(self._refusal)
        cipher = ssl_object.cipher()
        found = side.find(cipher[0] if cipher else None)
        if found is None:
            return
        self._has_post_handshake_auth = self._asks_later(ssl_object, found)
        try:
            session = self._slot.plan(found, is_enabled=self._is_enabled)
            reading = self._plan_reading(found, ssl_object)
            # Installed before OpenSSL is one record ahead: a refusal leaves it in charge.
            switched = side.switch(found, session.record_params, session, reading)
        except OSError as error:
            if self._slot.session is not None:
                # Another thread came first.
                return
            if error.errno in _REFUSALS:
                raise HandoverDeclined(error.strerror or str(error)) from None
            raise
        if switched:
            sysctl.count(PREFIX + "stats.offload_total")
            if self._rx_slot.session is not None:
                sysctl.count(PREFIX + "stats.offload_total")

    def _plan_reading(self, found: Handover, ssl_object: ssl.SSLObject) -> Reading | None:
        # Unless the switch takes reading over, too.
        self._rx_why = (
            "it is not certain which read keys are the peer's: secrets of more than one connection"
            " were logged under this client random, or OpenSSL has read ahead"
        )
        try:
            session = self._rx_slot.plan(found)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            self._rx_why = error.strerror or str(error)
            return None
        return Reading(
            self._rx_slot.stream,
            session.provider,
            session,
            keeps_tickets=self._keeps_tickets(ssl_object),
            post_handshake_auth=self._has_post_handshake_auth,
        )

    def _asks_later(self, ssl_object: ssl.SSLObject, found: Handover) -> bool:
        """Whether a certificate may be asked for after the handshake, which only OpenSSL can do."""
        if ssl_object.version() != "TLSv1.3" or not found.offers_post_handshake_auth:
            return False
        # A client offers it by its context; a server needs no more than one that verifies.
        context = ssl_object.context
        return (
            not self._server_side
            or context.post_handshake_auth
            or context.verify_mode is not ssl.CERT_NONE
        )

    def _wants_session(self, ssl_object: ssl.SSLObject) -> bool:
        """Whether the program may ask for a session to resume, which only OpenSSL can make."""
        return not self._server_side and not ssl_object.context.options & ssl.OP_NO_TICKET

    def _keeps_tickets(self, ssl_object: ssl.SSLObject) -> bool:
        """Whether tickets still come that only OpenSSL understands."""
        return self._wants_session(ssl_object) and ssl_object.version() == "TLSv1.3"


def _owner(ssl_object: ssl.SSLObject) -> Any:
    """Whom callbacks of the context are given."""
    return ssl_object._sslobj.owner  # type: ignore[attr-defined]  # the stub leaves it out
