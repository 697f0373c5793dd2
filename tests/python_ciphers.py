"""Ciphers in Python, over the package cryptography, and what can go wrong in them."""

from collections.abc import Callable, Sequence
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

import ktls
from ktls.backends import Record, SessionParams


class Cipher:
    """Of one key."""

    def __init__(self, aead: Any) -> None:
        self.aead = aead

    def seal(self, batch: Sequence[Record]) -> None:
        for record in batch:
            sealed = self.aead.encrypt(record.nonce, bytes(record.text), record.aad)
            record.text[:] = sealed[:-16]
            record.tag[:] = sealed[-16:]

    def open(self, batch: Sequence[Record]) -> None:
        for record in batch:
            sealed = bytes(record.text) + bytes(record.tag)
            try:
                record.text[:] = self.aead.decrypt(record.nonce, sealed, record.aad)
            except InvalidTag:
                record.refuse()


class PythonBackend:
    """Takes every AEAD."""

    api_version = 1

    def __init__(self, name: str = "python", prio: int = 1) -> None:
        self.name = name
        self.prio = prio
        self.asked: list[SessionParams] = []

    def try_session(self, params: SessionParams) -> Callable[[bytes], Any] | None:
        self.asked.append(params)
        is_gcm = params.cipher_algorithm == ktls.CRYPTO_AES_NIST_GCM_16
        aead = AESGCM if is_gcm else ChaCha20Poly1305
        return lambda key: self.cipher(aead(key))

    def cipher(self, aead: Any) -> Any:
        return Cipher(aead)
