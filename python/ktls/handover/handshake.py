"""The handshake of one connection, and the switch at its end.

OpenSSL makes the handshake; the tap watches it. When it is finished the keys are taken over, or the
connection is settled as it is, with the reason in `Handshake.why`.
"""

import errno
import ssl
import threading
from collections.abc import Iterable
from typing import Final

from ktls._core import Secret
from ktls.constants import Mode
from ktls.errors import HandoverError
from ktls.socket import Socket
from ktls.sysctl import sysctl

from .context import follow, prepared
from .follower import Follower
from .hello import HelloTap
from .keylog import Registration
from .reader import Deadline, Reader
from .records import split_records
from .shadow import Item, Shadow, as_it_is
from .takeover import Candidate, NotTakenOver, find_candidates, max_frame_len, probe
from .writer import Writer

__all__ = ["Handshake"]

_REFUSALS: Final = frozenset({errno.EOPNOTSUPP, errno.ENXIO, errno.EPROTONOSUPPORT, errno.EINVAL})
"""Errors of an installation that say that policy or a backend does not want the connection."""


class Handshake:
    """Runs once; `settled` afterwards, with `mode` and `why`."""

    def __init__(
        self, socket: Socket, shadow: Shadow, reader: Reader, writer: Writer, *, server_side: bool
    ) -> None:
        self._socket = socket
        self._shadow = shadow
        self._reader = reader
        self._writer = writer
        self._server_side = server_side
        self._lock = threading.Lock()
        self._tap: HelloTap | None = None
        self._registration: Registration | None = None
        self._follower: Follower | None = None
        self._refusal = ""
        self._finished = False
        self._failure: HandoverError | None = None
        self.settled = False
        self.mode = Mode.NONE
        self.why = "the handshake is not finished"

    def run(self) -> None:
        """Do what is left of the handshake; nothing when it is settled.

        Errors as `SSLSocket.do_handshake`; HandoverError when the context was changed since it was
        prepared (nothing was sent then), or when the keys could not be taken over (the connection
        is reset then).
        """
        deadline = self._reader.deadline("handshake")
        # Not the reader's own lock: who waits for it might wait for the first byte of the peer.
        with deadline.held(self._lock):
            if self.settled:
                return
            if self._failure is not None:
                raise self._failure
            if self._tap is None:
                self._begin()
            try:
                with self._reader.alone(deadline):
                    self._advance(deadline)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, TimeoutError):
                raise
            except BaseException:
                self.abandon()
                raise

    def abandon(self) -> None:
        """Forget what was collected for a handshake that will not end."""
        if self._registration is not None:
            self._registration.release()
            self._registration = None
        self._reader.watch = None

    def _begin(self) -> None:
        state = prepared(self._shadow.ssl_object.context, self._server_side)
        self._refusal = state.refusal
        if state.log is not None:
            self._registration = Registration(state.log)
            follow(self._shadow.ssl_object, self._registration)
        self._tap = HelloTap(self._server_side, self._on_client_random)
        self._reader.watch = self._tap.incoming
        self._shadow.interpret = self._pass_on

    def _advance(self, deadline: Deadline) -> None:
        while True:
            self._writer.emit()
            if self._finished:
                break
            try:
                self._shadow.call(self._shadow.ssl_object.do_handshake)
                self._finished = True
            except ssl.SSLWantReadError:
                self._writer.emit()
                self._reader.feed(deadline)
            except ssl.SSLError:
                self._writer.offer()
                raise
        try:
            self._take_over()
            self.mode, self.why = self._socket.mode, ""
        except NotTakenOver as reason:
            self._shadow.interpret = as_it_is
            self.why = str(reason)
        except HandoverError as error:
            self._failure = error
            self._socket._stream.abort()
            raise
        self.settled = True
        self.abandon()
        # Its records are not needed any more, and a connection may idle for days.
        self._tap = None

    def _take_over(self) -> None:
        tap = self._tap
        if tap is None:
            return
        if not sysctl["kern.ipc.tls.enable"]:
            raise NotTakenOver("kern.ipc.tls.enable is off: call ktls.enable() or set it to 1")
        if self._refusal:
            raise NotTakenOver(self._refusal)
        candidates = find_candidates(
            tap, self._secrets(tap), self._server_side, self._shadow.ssl_object.cipher()
        )
        # Installed before the probe: a refusal must come while OpenSSL and the wire still agree.
        first = candidates[0]
        frame_len = max_frame_len(tap, self._server_side, first.write_keys.suite.tls13)
        self._install(first, frame_len)
        proven = probe(self._shadow, candidates)
        if proven.write_keys is not first.write_keys:
            self._socket._replace(proven.write_keys.keys, proven.write_keys.secret)
        self._follower = Follower(proven.write_keys, proven.opener)
        self._shadow.interpret = self._translate
        self._writer.take_over(tls13=proven.write_keys.suite.tls13)

    def _install(self, candidate: Candidate, frame_len: int) -> None:
        try:
            self._socket._install(
                candidate.write_keys.keys,
                candidate.opener.sequence,
                candidate.explicit_nonce,
                frame_len,
                candidate.write_keys.secret,
            )
        except OSError as error:
            if error.errno in _REFUSALS:
                raise NotTakenOver(error.strerror or str(error)) from None
            raise

    def _secrets(self, tap: HelloTap) -> list[Secret]:
        if self._registration is None or tap.client_hello is None:
            return []
        return self._registration.secrets(tap.client_hello.random)

    def _on_client_random(self, client_random: bytes) -> None:
        if self._registration is not None:
            self._registration.add_random(client_random)

    def _pass_on(self, data: bytes) -> Iterable[Item]:
        if self._tap is not None:
            try:
                for record in split_records(data):
                    self._tap.outgoing(record)
            except ValueError:
                self._tap.refusal = "OpenSSL wrote something that is no record"
        return (data,)

    def _translate(self, data: bytes) -> Iterable[Item]:
        if self._follower is None:
            return ()
        try:
            return self._follower.translate(data)
        except HandoverError:
            self._socket._stream.abort()
            raise
