"""The cipher suites whose keys can be taken over, by the 16-bit number of the ServerHello.

Facts only: whether a backend seals a suite, or policy wants it, is asked when the keys are
installed. A number that is not in the table (CCM, ARIA, Camellia, PSK, static DH) stays with
OpenSSL.
"""

from dataclasses import dataclass
from typing import Final

from ktls.constants import (
    CRYPTO_AES_CBC,
    CRYPTO_AES_NIST_GCM_16,
    CRYPTO_CHACHA20_POLY1305,
    CRYPTO_SHA1_HMAC,
    CRYPTO_SHA2_256_HMAC,
    CRYPTO_SHA2_384_HMAC,
    TLS_MINOR_VER_ONE,
    TLS_MINOR_VER_THREE,
    TLS_MINOR_VER_TWO,
    TLS_MINOR_VER_ZERO,
)

__all__ = ["Suite", "named"]


@dataclass(frozen=True, slots=True)
class Suite:
    """What the key schedule and the record layer need to know of a cipher suite."""

    number: int
    name: str
    """OpenSSL's name, as ``SSLSocket.cipher()`` gives it."""
    cipher_algorithm: int
    key_len: int
    prf_hash: str
    """Hash of the key schedule: "sha256" or "sha384" (TLS 1.0 and 1.1 have a fixed one)."""
    auth_algorithm: int = 0
    """The HMAC of a CBC suite, 0 for an AEAD."""
    tls13: bool = False

    @property
    def tls_vminors(self) -> tuple[int, ...]:
        """The versions that it goes with: 1 to 4 for TLS 1.0 to 1.3."""
        if self.tls13:
            return (TLS_MINOR_VER_THREE,)
        if self.auth_algorithm == CRYPTO_SHA1_HMAC:
            return (TLS_MINOR_VER_ZERO, TLS_MINOR_VER_ONE, TLS_MINOR_VER_TWO)
        return (TLS_MINOR_VER_TWO,)


def named(number: int) -> Suite | None:
    """Return the suite of this number, None when it is not in the table."""
    return _BY_NUMBER.get(number)


_GCM: Final = CRYPTO_AES_NIST_GCM_16
_CHACHA: Final = CRYPTO_CHACHA20_POLY1305
_CBC: Final = CRYPTO_AES_CBC

_SUITES: Final = (
    # RFC 8446 B.4
    Suite(0x1301, "TLS_AES_128_GCM_SHA256", _GCM, 16, "sha256", tls13=True),
    Suite(0x1302, "TLS_AES_256_GCM_SHA384", _GCM, 32, "sha384", tls13=True),
    Suite(0x1303, "TLS_CHACHA20_POLY1305_SHA256", _CHACHA, 32, "sha256", tls13=True),
    # RFC 5288, RFC 5289
    Suite(0x009C, "AES128-GCM-SHA256", _GCM, 16, "sha256"),
    Suite(0x009D, "AES256-GCM-SHA384", _GCM, 32, "sha384"),
    Suite(0x009E, "DHE-RSA-AES128-GCM-SHA256", _GCM, 16, "sha256"),
    Suite(0x009F, "DHE-RSA-AES256-GCM-SHA384", _GCM, 32, "sha384"),
    Suite(0xC02B, "ECDHE-ECDSA-AES128-GCM-SHA256", _GCM, 16, "sha256"),
    Suite(0xC02C, "ECDHE-ECDSA-AES256-GCM-SHA384", _GCM, 32, "sha384"),
    Suite(0xC02F, "ECDHE-RSA-AES128-GCM-SHA256", _GCM, 16, "sha256"),
    Suite(0xC030, "ECDHE-RSA-AES256-GCM-SHA384", _GCM, 32, "sha384"),
    # RFC 7905
    Suite(0xCCA8, "ECDHE-RSA-CHACHA20-POLY1305", _CHACHA, 32, "sha256"),
    Suite(0xCCA9, "ECDHE-ECDSA-CHACHA20-POLY1305", _CHACHA, 32, "sha256"),
    Suite(0xCCAA, "DHE-RSA-CHACHA20-POLY1305", _CHACHA, 32, "sha256"),
    # RFC 5246 A.5, RFC 8422 6
    Suite(0x002F, "AES128-SHA", _CBC, 16, "sha256", CRYPTO_SHA1_HMAC),
    Suite(0x0035, "AES256-SHA", _CBC, 32, "sha256", CRYPTO_SHA1_HMAC),
    Suite(0x0033, "DHE-RSA-AES128-SHA", _CBC, 16, "sha256", CRYPTO_SHA1_HMAC),
    Suite(0x0039, "DHE-RSA-AES256-SHA", _CBC, 32, "sha256", CRYPTO_SHA1_HMAC),
    Suite(0xC009, "ECDHE-ECDSA-AES128-SHA", _CBC, 16, "sha256", CRYPTO_SHA1_HMAC),
    Suite(0xC00A, "ECDHE-ECDSA-AES256-SHA", _CBC, 32, "sha256", CRYPTO_SHA1_HMAC),
    Suite(0xC013, "ECDHE-RSA-AES128-SHA", _CBC, 16, "sha256", CRYPTO_SHA1_HMAC),
    Suite(0xC014, "ECDHE-RSA-AES256-SHA", _CBC, 32, "sha256", CRYPTO_SHA1_HMAC),
    Suite(0x003C, "AES128-SHA256", _CBC, 16, "sha256", CRYPTO_SHA2_256_HMAC),
    Suite(0x003D, "AES256-SHA256", _CBC, 32, "sha256", CRYPTO_SHA2_256_HMAC),
    Suite(0x0067, "DHE-RSA-AES128-SHA256", _CBC, 16, "sha256", CRYPTO_SHA2_256_HMAC),
    Suite(0x006B, "DHE-RSA-AES256-SHA256", _CBC, 32, "sha256", CRYPTO_SHA2_256_HMAC),
    Suite(0xC023, "ECDHE-ECDSA-AES128-SHA256", _CBC, 16, "sha256", CRYPTO_SHA2_256_HMAC),
    Suite(0xC024, "ECDHE-ECDSA-AES256-SHA384", _CBC, 32, "sha384", CRYPTO_SHA2_384_HMAC),
    Suite(0xC027, "ECDHE-RSA-AES128-SHA256", _CBC, 16, "sha256", CRYPTO_SHA2_256_HMAC),
    Suite(0xC028, "ECDHE-RSA-AES256-SHA384", _CBC, 32, "sha384", CRYPTO_SHA2_384_HMAC),
)

_BY_NUMBER: Final = {suite.number: suite for suite in _SUITES}
