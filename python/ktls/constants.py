"""Option numbers, modes, algorithms and record types: FreeBSD's names and values.

What FreeBSD lacks has Linux's (``linux/tls.h``). Where Linux gives a number another meaning (its
TCP options 39 to 42 are TCP-AO's), ``ktls.Socket`` follows FreeBSD.  Names and values are those of
``ktls(4)``, ``sys/ktls.h`` and ``crypto/cryptodev.h``.
"""

from enum import IntEnum, StrEnum, unique
from typing import Final

IPPROTO_TCP: Final = 6

# Socket options of level IPPROTO_TCP.
TCP_TXTLS_ENABLE: Final = 39
TCP_TXTLS_MODE: Final = 40
TCP_RXTLS_ENABLE: Final = 41
TCP_RXTLS_MODE: Final = 42

# Linux's option of level SOL_TLS.
SOL_TLS: Final = 282
TLS_TX_MAX_PAYLOAD_LEN: Final = 5

# Control messages of level IPPROTO_TCP.
TLS_SET_RECORD_TYPE: Final = 1
TLS_GET_RECORD: Final = 2


@unique
class Mode(IntEnum):
    """Who seals what a connection sends (TCP_TXTLS_MODE)."""

    NONE = 0
    """A ``Socket``: the bytes go out as they are.  A ``TLSSocket``: OpenSSL seals."""
    SW = 1
    """The threads of this process."""
    IFNET = 2
    """The network interface."""
    TOE = 3
    """A TCP offload engine."""


@unique
class RecordSplit(StrEnum):
    """What precedes the data of a write in TLS 1.0 with AES-CBC (RFC 5246 F.3).

    The IV of a record is the end of the one before, which whoever listens has seen (the attack
    called BEAST): a MAC that cannot be foreseen is put in between. The values of
    ``kern.ipc.tls.tls10_fragment``.
    """

    NONE = "none"
    """Nothing."""
    EMPTY = "empty"
    """A record without data."""
    SPLIT = "split"
    """A record of the first byte; the rest follows (1/n-1 record splitting)."""


TCP_TLS_MODE_NONE: Final = Mode.NONE
TCP_TLS_MODE_SW: Final = Mode.SW
TCP_TLS_MODE_IFNET: Final = Mode.IFNET
TCP_TLS_MODE_TOE: Final = Mode.TOE

# Cipher and authentication algorithms.
CRYPTO_SHA1_HMAC: Final = 7
CRYPTO_AES_CBC: Final = 11
CRYPTO_SHA2_256_HMAC: Final = 18
CRYPTO_SHA2_384_HMAC: Final = 19
CRYPTO_AES_NIST_GCM_16: Final = 25
CRYPTO_AES_128_NIST_GMAC: Final = 26
CRYPTO_AES_192_NIST_GMAC: Final = 27
CRYPTO_AES_256_NIST_GMAC: Final = 28
CRYPTO_CHACHA20_POLY1305: Final = 41

# Protocol versions, as they stand in a record header.
TLS_MAJOR_VER_ONE: Final = 3
TLS_MINOR_VER_ZERO: Final = 1
TLS_MINOR_VER_ONE: Final = 2
TLS_MINOR_VER_TWO: Final = 3
TLS_MINOR_VER_THREE: Final = 4

# Content types (RFC 8446 §5.1).
TLS_RLTYPE_ALERT: Final = 21
TLS_RLTYPE_HANDSHAKE: Final = 22
TLS_RLTYPE_APP: Final = 23

# Lengths in bytes.
TLS_MAX_MSG_SIZE_V10_2: Final = 16384
TLS_MAX_PARAM_SIZE: Final = 1024
TLS_AEAD_GCM_LEN: Final = 4
TLS_1_3_GCM_IV_LEN: Final = 12
TLS_CHACHA20_IV_LEN: Final = 12
TLS_CBC_IMPLICIT_IV_LEN: Final = 16
