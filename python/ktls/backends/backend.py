"""What a backend is: a structural type, so that nobody has to inherit from it.

``seals`` is the answer of both built-in backends to the question which suites they take.
"""

from dataclasses import dataclass
from typing import Protocol

from ktls import _core
from ktls import constants as c


@dataclass(frozen=True, slots=True)
class Support:
    """The answer of a probe; true when the thing works.  ``reason`` is for people."""

    available: bool
    reason: str

    def __bool__(self) -> bool:
        return self.available


class Backend(Protocol):
    """Seals the records of sessions in software mode."""

    @property
    def name(self) -> str:
        """As in ``kern.ipc.tls.backend``."""

    @property
    def prio(self) -> int:
        """Greater is asked first."""

    @property
    def provider(self) -> str | None:
        """The cipher provider in the engine; None has none and is never chosen."""

    def probe(self) -> Support:
        """Whether it works in this process."""

    def takes(self, tls_vminor: int, cipher_algorithm: int, key_len: int) -> bool:
        """Whether it seals this suite; `key_len` in bytes."""


def compiled_in(provider: str) -> Support:
    """The probe of a backend that is nothing but a provider."""
    if provider in _core.providers():
        return Support(True, "compiled in")
    return Support(False, f"the extension module was built without the feature {provider!r}")


def seals(tls_vminor: int, cipher_algorithm: int, key_len: int) -> bool:
    """Whether the suite is one of those that every provider seals.

    AES-GCM and ChaCha20-Poly1305 in TLS 1.2 and 1.3; AES-CBC in TLS 1.0 to 1.2, which the same code
    does for all of them.
    """
    if cipher_algorithm == c.CRYPTO_AES_CBC:
        return c.TLS_MINOR_VER_ZERO <= tls_vminor <= c.TLS_MINOR_VER_TWO and key_len in (16, 32)
    if tls_vminor not in (c.TLS_MINOR_VER_TWO, c.TLS_MINOR_VER_THREE):
        return False
    return (cipher_algorithm, key_len) in (
        (c.CRYPTO_AES_NIST_GCM_16, 16),
        (c.CRYPTO_AES_NIST_GCM_16, 32),
        (c.CRYPTO_CHACHA20_POLY1305, 32),
    )
