"""``TLSEnable``, the argument of TCP_TXTLS_ENABLE, and FreeBSD's checks of it, in its order.

What depends on the state of a socket or of a switch (``docs/freebsd.md`` rows 4 to 9) is in
``session``; whether somebody can seal for a suite is said by ``backends``.
"""

import errno
from dataclasses import dataclass, field
from typing import Final, NoReturn, TypeAlias

from ktls import constants as c

IV_MAX_LEN: Final = 16
REC_SEQ_LEN: Final = 8

_HMACS: Final = {
    c.CRYPTO_SHA1_HMAC: "SHA1",
    c.CRYPTO_SHA2_256_HMAC: "SHA2-256",
    c.CRYPTO_SHA2_384_HMAC: "SHA2-384",
}
_MAC_KEY_LENS: Final = {
    c.CRYPTO_SHA1_HMAC: 20,
    c.CRYPTO_SHA2_256_HMAC: 32,
    c.CRYPTO_SHA2_384_HMAC: 48,
}
_GMACS: Final = (
    c.CRYPTO_AES_128_NIST_GMAC,
    c.CRYPTO_AES_192_NIST_GMAC,
    c.CRYPTO_AES_256_NIST_GMAC,
)
_CIPHERS: Final = {
    c.CRYPTO_AES_NIST_GCM_16: "AES-GCM",
    c.CRYPTO_AES_CBC: "AES-CBC",
    c.CRYPTO_CHACHA20_POLY1305: "ChaCha20-Poly1305",
}
_KEY_LENS: Final = {
    c.CRYPTO_AES_NIST_GCM_16: (16, 32),
    c.CRYPTO_AES_CBC: (16, 32),
    c.CRYPTO_CHACHA20_POLY1305: (32,),
}

_Bytes: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TLSEnable:
    """``struct tls_enable``: all that is needed to seal what a connection sends next.

    Byte fields take any bytes-like object and are copied; those that hold keys are then read-only
    views, overwritten with zeros when this object is freed.  They are not in the repr, and the
    object cannot be pickled or copied.  ``tls_vminor`` is 1 to 4 for TLS 1.0 to 1.3; ``iv`` is the
    implicit part of the nonce; ``rec_seq`` is the big-endian number of the next record.  Only types
    are checked here (TypeError); values are checked by ``setsockopt``, as upstream.
    """

    cipher_algorithm: int
    cipher_key: _Bytes = field(repr=False)
    iv: _Bytes = field(default=b"", repr=False)
    auth_algorithm: int = 0
    auth_key: _Bytes = field(default=b"", repr=False)
    tls_vmajor: int = c.TLS_MAJOR_VER_ONE
    tls_vminor: int
    rec_seq: bytes = bytes(REC_SEQ_LEN)
    flags: int = 0
    _kept: list[bytearray] = field(init=False, repr=False, default_factory=list)

    def __post_init__(self) -> None:
        for name in ("cipher_algorithm", "auth_algorithm", "tls_vmajor", "tls_vminor", "flags"):
            value = getattr(self, name)
            if not isinstance(value, int):
                raise TypeError(f"TLSEnable.{name} must be an int, not {type(value).__name__}")
        for name in ("cipher_key", "iv", "auth_key", "rec_seq"):
            value = getattr(self, name)
            try:
                copied = bytearray(memoryview(value))
            except TypeError:
                raise TypeError(
                    f"TLSEnable.{name} must be a bytes-like object, not {type(value).__name__}"
                ) from None
            if name == "rec_seq":
                object.__setattr__(self, name, bytes(copied))
            else:
                self._kept.append(copied)
                object.__setattr__(self, name, memoryview(copied).toreadonly())

    def __del__(self) -> None:
        # Empty or missing where construction failed.
        for secret in getattr(self, "_kept", ()):
            secret[:] = bytes(len(secret))

    def __reduce__(self) -> NoReturn:
        raise TypeError("TLSEnable holds keys and cannot be pickled or copied; make a new one")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()

    @property
    def sequence(self) -> int:
        """``rec_seq`` as a number."""
        return int.from_bytes(self.rec_seq, "big")


def check_lengths(en: TLSEnable) -> None:
    """The lengths, before anything else, even while the switch is off (``docs/freebsd.md`` row 3).

    Raises OSError EINVAL.
    """
    if not 0 < len(en.cipher_key) <= c.TLS_MAX_PARAM_SIZE:
        _invalid(
            f"cipher_key has {len(en.cipher_key)} bytes; 1 to {c.TLS_MAX_PARAM_SIZE} are possible"
        )
    if len(en.iv) > IV_MAX_LEN:
        _invalid(f"iv has {len(en.iv)} bytes; at most {IV_MAX_LEN} are possible")
    if len(en.auth_key) > c.TLS_MAX_PARAM_SIZE:
        _invalid(
            f"auth_key has {len(en.auth_key)} bytes; at most {c.TLS_MAX_PARAM_SIZE} are possible"
        )
    if len(en.rec_seq) != REC_SEQ_LEN:
        _invalid(
            f"rec_seq has {len(en.rec_seq)} bytes; give the number as {REC_SEQ_LEN}, big-endian"
        )


def check(en: TLSEnable, *, cbc_enable: bool = True) -> None:
    """Version, flags, suite (``docs/freebsd.md`` rows 10 to 13).

    Raises OSError: EINVAL, or EOPNOTSUPP for CBC switched off.

    As in FreeBSD 12 and 13 a GMAC number is taken as ``auth_algorithm`` of AES-GCM and means
    nothing.
    """
    if en.tls_vmajor != c.TLS_MAJOR_VER_ONE:
        _invalid(f"tls_vmajor is {en.tls_vmajor}; every TLS version has {c.TLS_MAJOR_VER_ONE}")
    if not c.TLS_MINOR_VER_ZERO <= en.tls_vminor <= c.TLS_MINOR_VER_THREE:
        _invalid(f"tls_vminor is {en.tls_vminor}; 1 to 4 stand for TLS 1.0 to 1.3")
    if en.flags != 0:
        _invalid(f"flags is {en.flags:#x}; no flag is defined, pass 0")
    match en.cipher_algorithm:
        case c.CRYPTO_AES_NIST_GCM_16:
            _check_gcm(en)
        case c.CRYPTO_AES_CBC:
            if not cbc_enable:
                raise cbc_is_off()
            _check_cbc(en)
        case c.CRYPTO_CHACHA20_POLY1305:
            _check_chacha20(en)
        case other:
            _invalid(
                f"cipher_algorithm is {other}; known are "
                + ", ".join(f"{number} ({name})" for number, name in _CIPHERS.items())
            )


def cbc_is_off() -> OSError:
    """EOPNOTSUPP: ``kern.ipc.tls.cbc_enable`` forbids the suite."""
    return OSError(errno.EOPNOTSUPP, "AES-CBC is switched off; set kern.ipc.tls.cbc_enable to 1")


def check_key_len(cipher_algorithm: int, key_len: int) -> None:
    """The check that upstream leaves to the back end.  Raises OSError EINVAL."""
    lens = _KEY_LENS[cipher_algorithm]
    if key_len not in lens:
        _invalid(
            f"cipher_key has {key_len} bytes; {_CIPHERS[cipher_algorithm]} takes "
            + " or ".join(map(str, lens))
        )


def traffic_secret_len(cipher_algorithm: int, key_len: int) -> int:
    """Bytes of a TLS 1.3 traffic secret: those of the suite's hash (RFC 8446 B.4)."""
    return 48 if (cipher_algorithm, key_len) == (c.CRYPTO_AES_NIST_GCM_16, 32) else 32


def suite_name(tls_vminor: int, cipher_algorithm: int, key_len: int) -> str:
    """For messages: ``"TLS 1.2 AES-GCM with a 16-byte key"``."""
    cipher = _CIPHERS.get(cipher_algorithm, f"cipher {cipher_algorithm}")
    return f"TLS 1.{tls_vminor - 1} {cipher} with a {key_len}-byte key"


def _check_gcm(en: TLSEnable) -> None:
    if en.auth_algorithm != 0 and en.auth_algorithm not in _GMACS:
        _invalid(f"auth_algorithm is {en.auth_algorithm}; AES-GCM has none, pass 0")
    if en.auth_key:
        _invalid(f"auth_key has {len(en.auth_key)} bytes; AES-GCM has none, leave it empty")
    match en.tls_vminor:
        case c.TLS_MINOR_VER_TWO:
            iv_len = c.TLS_AEAD_GCM_LEN
        case c.TLS_MINOR_VER_THREE:
            iv_len = c.TLS_1_3_GCM_IV_LEN
        case minor:
            _invalid(f"tls_vminor is {minor}; AES-GCM exists in TLS 1.2 (3) and 1.3 (4) only")
    if len(en.iv) != iv_len:
        _invalid(f"iv has {len(en.iv)} bytes; AES-GCM in TLS 1.{en.tls_vminor - 1} takes {iv_len}")


def _check_cbc(en: TLSEnable) -> None:
    if en.auth_algorithm not in _HMACS:
        _invalid(
            f"auth_algorithm is {en.auth_algorithm}; AES-CBC takes "
            + ", ".join(f"{number} ({name})" for number, name in _HMACS.items())
        )
    if not en.auth_key:
        _invalid("auth_key is empty; AES-CBC needs the MAC key")
    match en.tls_vminor:
        case c.TLS_MINOR_VER_ZERO if len(en.iv) != c.TLS_CBC_IMPLICIT_IV_LEN:
            _invalid(
                f"iv has {len(en.iv)} bytes; AES-CBC in TLS 1.0 takes {c.TLS_CBC_IMPLICIT_IV_LEN}"
            )
        case c.TLS_MINOR_VER_THREE:
            _invalid("tls_vminor is 4; TLS 1.3 has no AES-CBC")
    if en.auth_algorithm != c.CRYPTO_SHA1_HMAC and en.tls_vminor != c.TLS_MINOR_VER_TWO:
        _invalid(
            f"auth_algorithm is {en.auth_algorithm}; {_HMACS[en.auth_algorithm]} exists in TLS 1.2"
            f" only, TLS 1.{en.tls_vminor - 1} takes {c.CRYPTO_SHA1_HMAC} (SHA1)"
        )
    mac_key_len = _MAC_KEY_LENS[en.auth_algorithm]
    if len(en.auth_key) != mac_key_len:
        # Upstream takes any length but 0. A key block has no other one (RFC 5246 appendix C).
        _invalid(
            f"auth_key has {len(en.auth_key)} bytes; {_HMACS[en.auth_algorithm]} takes"
            f" {mac_key_len}"
        )


def _check_chacha20(en: TLSEnable) -> None:
    if en.auth_algorithm != 0:
        _invalid(f"auth_algorithm is {en.auth_algorithm}; ChaCha20-Poly1305 has none, pass 0")
    if en.auth_key:
        _invalid(
            f"auth_key has {len(en.auth_key)} bytes; ChaCha20-Poly1305 has none, leave it empty"
        )
    if en.tls_vminor not in (c.TLS_MINOR_VER_TWO, c.TLS_MINOR_VER_THREE):
        _invalid(
            f"tls_vminor is {en.tls_vminor}; ChaCha20-Poly1305 exists in TLS 1.2 (3) and"
            " 1.3 (4) only"
        )
    if len(en.iv) != c.TLS_CHACHA20_IV_LEN:
        _invalid(f"iv has {len(en.iv)} bytes; ChaCha20-Poly1305 takes {c.TLS_CHACHA20_IV_LEN}")


def _invalid(message: str) -> NoReturn:
    raise OSError(errno.EINVAL, message)
