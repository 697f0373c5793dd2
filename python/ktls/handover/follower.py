"""The follower: opens what OpenSSL writes after the switch, so that our stream can say it.

Alerts, KeyUpdate answers, tickets and post-handshake authentication come out of OpenSSL sealed
under a state that the peer does not know any more. Here they are opened; `Message` is what our
stream has to seal instead. A record of OpenSSL is never passed on as it is: its nonce may have been
used.
"""

from dataclasses import dataclass
from typing import Final

from ktls._core import Keys, Opener, Secret
from ktls.errors import BadRecord, HandoverError

from .records import MessageReader, split_records
from .suites import Suite

__all__ = ["ALERT", "APPLICATION_DATA", "HANDSHAKE", "Follower", "Message", "WriteKeys"]

CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23
KEY_UPDATE: Final = 24

_CLOSE_NOTIFY: Final = 0
_USER_CANCELED: Final = 90
_FATAL: Final = 2


@dataclass(frozen=True, slots=True)
class Message:
    """Something to be sealed in our stream."""

    content_type: int
    payload: bytes
    ends_generation: bool = False
    """It ends in a KeyUpdate: the next byte is sealed with the next keys (RFC 8446 §4.6.3)."""

    def ends_writing(self, tls13: bool) -> bool:
        """Whether nothing may follow it: close_notify or an error alert (RFC 8446 §6)."""
        if self.content_type != ALERT or len(self.payload) != 2:
            return False
        level, description = self.payload
        if description == _CLOSE_NOTIFY:
            return True
        return description != _USER_CANCELED if tls13 else level == _FATAL


class WriteKeys:
    """The keys of one direction, and in TLS 1.3 the secret from which the next generation comes."""

    def __init__(
        self, suite: Suite, keys: Keys, secret: Secret | None = None, generation: int = 0
    ) -> None:
        self.suite = suite
        self.keys = keys
        self.generation = generation
        self.secret = secret

    def next_generation(self) -> "WriteKeys":
        """Return the keys after a KeyUpdate (RFC 8446 §7.2); their first record has number 0.

        HandoverError before TLS 1.3, which has none.
        """
        if self.secret is None:
            raise HandoverError("only TLS 1.3 has a next generation of keys")
        secret = self.secret.next()
        keys = secret.keys(self.suite.cipher_algorithm, self.suite.key_len)
        return WriteKeys(self.suite, keys, secret, self.generation + 1)


class Follower:
    """OpenSSL's write state from the switch on.

    `opener` has opened every record that OpenSSL wrote so far under `write_keys`.
    """

    def __init__(self, write_keys: WriteKeys, opener: Opener) -> None:
        self._write_keys = write_keys
        self._opener = opener
        self._tls13 = write_keys.suite.tls13
        self._messages = MessageReader()

    def translate(self, data: bytes) -> list[Message]:
        """Return what OpenSSL said in these records.

        HandoverError when they don't open or must not be said: the connection cannot go on then.
        """
        try:
            return [
                message for record in split_records(data) for message in self._translate(record)
            ]
        except (BadRecord, ValueError):
            raise HandoverError(
                "OpenSSL wrote a record that does not open: the connection was closed"
            ) from None

    def _translate(self, record: bytes) -> list[Message]:
        if self._tls13 and record[0] == CHANGE_CIPHER_SPEC:
            return []  # Only for middleboxes, in clear and not counted (RFC 8446 §D.4).
        content_type, payload = self._opener.open(record)
        if content_type == ALERT:
            return [Message(ALERT, payload)]
        if self._tls13 and content_type == HANDSHAKE:
            return [Message(HANDSHAKE, payload, self._ends_generation(payload))]
        if content_type == HANDSHAKE:
            raise HandoverError("OpenSSL began a renegotiation: the connection was closed")
        raise HandoverError(
            f"OpenSSL wrote a record of type {content_type} after the hand-over: "
            "the connection was closed"
        )

    def _ends_generation(self, payload: bytes) -> bool:
        types = [message[0] for message in self._messages.feed(payload)]
        if KEY_UPDATE not in types:
            return False
        if types.index(KEY_UPDATE) != len(types) - 1 or not self._messages.at_boundary:
            raise HandoverError("OpenSSL wrote on after a KeyUpdate: the connection was closed")
        self._write_keys = self._write_keys.next_generation()
        self._opener = Opener(self._write_keys.keys)
        return True
