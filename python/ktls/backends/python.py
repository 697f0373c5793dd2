"""Backends in Python: what they are asked, and what their ciphers get.

``try_session(params)`` of a backend says who makes the ciphers of a session: a callable that takes
a key (`bytes`) and returns a `Cipher`, or None, which leaves the session to the next backend.  The
callable is called for the first key and for every key that follows by a KeyUpdate.

Ciphers run with the interpreter held: those that seal in the pool's threads, those that open in the
thread that reads.  A call has up to some sixteen records.  Whatever it raises, and whatever it
returns but None, ends the connection with EIO and counts as ``stats.failed_crypto``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from ktls import _core, log

__all__ = ["Cipher", "Direction", "Record", "SessionParams", "asked"]

Direction = Literal["send", "receive"]
_LOG: Final = log.logger("backends")


@dataclass(frozen=True, slots=True)
class SessionParams:
    """What a session is going to be.  Suites are AEADs: AES-GCM and ChaCha20-Poly1305."""

    tls_vminor: int
    """3 for TLS 1.2, 4 for TLS 1.3."""
    cipher_algorithm: int
    """``CRYPTO_AES_NIST_GCM_16`` or ``CRYPTO_CHACHA20_POLY1305``."""
    key_len: int
    """Bytes of the keys to come."""
    direction: Direction


class Record(Protocol):
    """One record.  The views are writable and end with the call; what was kept raises ValueError.

    A view of a view that was kept is one of memory that nobody looks at any more.
    """

    @property
    def sequence(self) -> int:
        """Its number."""

    @property
    def content_type(self) -> int:
        """As in RFC 8446 5.1; of a record to be opened, the one in its header."""

    @property
    def nonce(self) -> bytes:
        """12 bytes, made for this record (RFC 8446 5.3, RFC 5288 3, RFC 7905 2)."""

    @property
    def aad(self) -> bytes:
        """What is authenticated beside the text."""

    @property
    def header(self) -> memoryview:
        """The bytes before the payload, as they are on the wire; changes to them are dropped."""

    @property
    def payload(self) -> memoryview:
        """What the program sends; of a record to be opened, the whole text."""

    @property
    def trailer(self) -> memoryview:
        """What follows it: in TLS 1.3 the inner type and padding, then the tag."""

    @property
    def text(self) -> memoryview:
        """What is encrypted or decrypted where it is: all between header and tag."""

    @property
    def tag(self) -> memoryview:
        """The last 16 bytes: written when the record is sealed, compared when it is opened."""

    def refuse(self) -> None:
        """The tag is not that of the text: the record is one that does not authenticate."""


class Cipher(Protocol):
    """A key in the hands of a backend.  One for each key and direction."""

    def seal(self, batch: Sequence[Record]) -> None:
        """Encrypt the text of every record where it is, and write its tag."""

    def open(self, batch: Sequence[Record]) -> None:
        """Decrypt the text of every record where it is; ``refuse`` those that do not authenticate.

        A batch may go on behind a change of keys: those records do not authenticate either.
        """


def asked(
    provider: _core.Provider,
    try_session: Callable[[SessionParams], Callable[[bytes], Cipher] | None],
    params: SessionParams,
) -> _core.Provider | None:
    """Who has the keys of this session; None where the backend refuses, or raises."""
    try:
        factory = try_session(params)
    except Exception:  # upstream discards the errors of try, too
        _LOG.info("the backend %s refused a session", provider.name, exc_info=True)
        return None
    if factory is None:
        return None
    if not callable(factory):
        _LOG.info("try_session of %s returned %r, which makes no cipher", provider.name, factory)
        return None
    return provider.for_session(factory)
