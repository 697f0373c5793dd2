"""The keys that a program gives, for either direction: with the session, and after a KeyUpdate.

After a KeyUpdate (RFC 8446 7.2) they keep version and cipher.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

from ktls import _core, params
from ktls import constants as c
from ktls.params import TLSEnable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Suite(Protocol):
    """What a session of either direction says of its suite."""

    @property
    def tls_vminor(self) -> int:
        """1 to 4 for TLS 1.0 to 1.3."""

    @property
    def cipher_algorithm(self) -> int:
        """CRYPTO_*."""

    @property
    def key_len(self) -> int:
        """Bytes."""


def first_keys(en: TLSEnable) -> _core.DirectionKeys:
    """The keys of checked parameters, and the number of the first record."""
    mac = en.cipher_algorithm == c.CRYPTO_AES_CBC
    keys = _core.Keys(
        en.tls_vminor,
        en.cipher_algorithm,
        en.cipher_key,
        en.iv,
        en.auth_algorithm if mac else 0,
        en.auth_key,
    )
    return _core.DirectionKeys(keys, en.sequence)


def next_keys(session: Suite, new: ReadableBuffer | TLSEnable) -> _core.DirectionKeys:
    """The keys that `new` is: a traffic secret, whose records begin at 0, or all that is known.

    Raises TypeError; OSError: EBUSY before TLS 1.3; EINVAL for another version or cipher, a secret
    of the wrong length.
    """
    if session.tls_vminor != c.TLS_MINOR_VER_THREE:
        raise OSError(
            errno.EBUSY,
            f"TLS 1.{session.tls_vminor - 1} has no key update; make a new connection",
        )
    if isinstance(new, TLSEnable):
        return _core.DirectionKeys(_keys_of_the_same_suite(new, session), new.sequence)
    try:
        secret = _core.Secret("TRAFFIC_SECRET", new)
    except TypeError:
        # Without the value: it may be a secret all the same.
        raise TypeError(
            "a change of keys takes the next traffic secret as bytes, or a TLSEnable, not"
            f" {type(new).__name__}"
        ) from None
    expected = params.traffic_secret_len(session.cipher_algorithm, session.key_len)
    if len(secret) != expected:
        raise OSError(
            errno.EINVAL,
            f"the traffic secret has {len(secret)} bytes; that of {session} has {expected}",
        )
    keys = secret.keys(session.cipher_algorithm, session.key_len)
    return _core.DirectionKeys(keys, 0, secret=secret)


def _keys_of_the_same_suite(en: TLSEnable, session: Suite) -> _core.Keys:
    params.check_lengths(en)
    params.check(en)
    old = (session.tls_vminor, session.cipher_algorithm, session.key_len)
    new = (en.tls_vminor, en.cipher_algorithm, len(en.cipher_key))
    if old != new:
        raise OSError(
            errno.EINVAL,
            f"the session is {params.suite_name(*old)}, the keys are for"
            f" {params.suite_name(*new)}; a new key keeps version and cipher",
        )
    return _core.Keys(en.tls_vminor, en.cipher_algorithm, en.cipher_key, en.iv)
