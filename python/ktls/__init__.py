"""FreeBSD's kernel TLS as a library: native threads frame, seal and send what is written."""

import os
from importlib import import_module
from typing import TYPE_CHECKING

from ktls import backends
from ktls.constants import (
    CRYPTO_AES_128_NIST_GMAC,
    CRYPTO_AES_192_NIST_GMAC,
    CRYPTO_AES_256_NIST_GMAC,
    CRYPTO_AES_CBC,
    CRYPTO_AES_NIST_GCM_16,
    CRYPTO_CHACHA20_POLY1305,
    CRYPTO_SHA1_HMAC,
    CRYPTO_SHA2_256_HMAC,
    CRYPTO_SHA2_384_HMAC,
    IPPROTO_TCP,
    SOL_TLS,
    TCP_RXTLS_ENABLE,
    TCP_RXTLS_MODE,
    TCP_TXTLS_ENABLE,
    TCP_TXTLS_MODE,
    TLS_GET_RECORD,
    TLS_MAJOR_VER_ONE,
    TLS_MINOR_VER_ONE,
    TLS_MINOR_VER_THREE,
    TLS_MINOR_VER_TWO,
    TLS_MINOR_VER_ZERO,
    TLS_RLTYPE_ALERT,
    TLS_RLTYPE_APP,
    TLS_RLTYPE_HANDSHAKE,
    TLS_SET_RECORD_TYPE,
    TLS_TX_MAX_PAYLOAD_LEN,
    Mode,
)
from ktls.context import SSLContext, create_default_context
from ktls.errors import BadRecord, HandoverError, KTLSError
from ktls.handover import prepare
from ktls.params import TLSEnable
from ktls.probe import probe
from ktls.socket import Socket
from ktls.sysctl import enable, sysctl
from ktls.sysctl.environment import apply as _apply_environment
from ktls.tls_socket import TLSSocket, wrap_socket
from ktls.waiting import get_wait_callback, set_wait_callback

# Here and nowhere else: every node is there, and nothing has asked for a value.
_apply_environment()

if TYPE_CHECKING:
    from ktls import control

    __version__: str
else:

    def __getattr__(name):
        """`__version__` and `control`, looked up when somebody asks: both take long."""
        if name == "control":
            return import_module("ktls.control")
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from ktls.version import version

        try:
            return version()
        except KTLSError as error:
            raise AttributeError(f"{__name__}.{name}: {error}") from None


__all__ = [
    "CRYPTO_AES_128_NIST_GMAC",
    "CRYPTO_AES_192_NIST_GMAC",
    "CRYPTO_AES_256_NIST_GMAC",
    "CRYPTO_AES_CBC",
    "CRYPTO_AES_NIST_GCM_16",
    "CRYPTO_CHACHA20_POLY1305",
    "CRYPTO_SHA1_HMAC",
    "CRYPTO_SHA2_256_HMAC",
    "CRYPTO_SHA2_384_HMAC",
    "IPPROTO_TCP",
    "SOL_TLS",
    "TCP_RXTLS_ENABLE",
    "TCP_RXTLS_MODE",
    "TCP_TXTLS_ENABLE",
    "TCP_TXTLS_MODE",
    "TLS_GET_RECORD",
    "TLS_MAJOR_VER_ONE",
    "TLS_MINOR_VER_ONE",
    "TLS_MINOR_VER_THREE",
    "TLS_MINOR_VER_TWO",
    "TLS_MINOR_VER_ZERO",
    "TLS_RLTYPE_ALERT",
    "TLS_RLTYPE_APP",
    "TLS_RLTYPE_HANDSHAKE",
    "TLS_SET_RECORD_TYPE",
    "TLS_TX_MAX_PAYLOAD_LEN",
    "BadRecord",
    "HandoverError",
    "KTLSError",
    "Mode",
    "SSLContext",
    "Socket",
    "TLSEnable",
    "TLSSocket",
    "backends",
    "control",
    "create_default_context",
    "enable",
    "get_wait_callback",
    "prepare",
    "probe",
    "set_wait_callback",
    "sysctl",
    "wrap_socket",
]

if os.environ.get("KTLS_CONTROL", "") == "1":
    from ktls.control import serve_unless_impossible

    serve_unless_impossible()
