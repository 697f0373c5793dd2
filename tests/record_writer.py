"""Seals TLS records with the ``cryptography`` package, as honest peers do and dishonest ones.

The mirror of ``record_reader``; nothing here uses the code under test.
"""

import os
from collections.abc import Iterator

from cryptography.hazmat.primitives import hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from cbc_reader import BLOCK_LEN, HASHES, mac_len
from record_reader import AES_CBC, AES_GCM, HEADER_LEN, Secrets, Suite

TAG_LEN = 16
NONCE_LEN = 8
"""Bytes of the explicit nonce of AES-GCM in TLS 1.2."""
MAX_LEN = 16384
TLS13 = 4


def header_size(suite: Suite) -> int:
    """Bytes before the payload: the header, and the explicit nonce or IV."""
    if suite.cipher_algorithm == AES_CBC:
        return HEADER_LEN + (0 if suite.tls_vminor == 1 else BLOCK_LEN)
    explicit = suite.cipher_algorithm == AES_GCM and suite.tls_vminor < TLS13
    return HEADER_LEN + (NONCE_LEN if explicit else 0)


def least_length(suite: Suite) -> int:
    """The least value of a record's length field: that of an empty payload."""
    if suite.cipher_algorithm == AES_CBC:
        sealed = mac_len(suite.auth_algorithm) + 1
        sealed += -sealed % BLOCK_LEN
    else:
        sealed = TAG_LEN + (suite.tls_vminor == TLS13)
    return header_size(suite) - HEADER_LEN + sealed


def header(suite: Suite, length: int, content_type: int = 23) -> bytes:
    """A record's first five bytes."""
    return bytes([content_type, 3, min(suite.tls_vminor, 3)]) + length.to_bytes(2, "big")


class RecordWriter:
    """Seals the records of one direction, one after another."""

    def __init__(self, secrets: Secrets) -> None:
        self.suite = secrets.suite
        self.sequence = secrets.sequence
        self._secrets = secrets
        self._explicit = int.from_bytes(os.urandom(NONCE_LEN), "big")
        self._chain = secrets.iv

    def seal(
        self,
        payload: bytes,
        content_type: int = 23,
        *,
        padding_len: int = 0,
        outer_type: int = 23,
    ) -> bytes:
        """A whole record.

        `padding_len`: bytes beyond those that must be, in TLS 1.3 zeros behind the content type
        (RFC 8446 §5.4), with AES-CBC whole blocks (RFC 5246 §6.2.3.2).  `outer_type`: the type in
        the header of a TLS 1.3 record.
        """
        if self.suite.cipher_algorithm == AES_CBC:
            record = self._seal_cbc(payload, content_type, padding_len)
        elif self.suite.tls_vminor == TLS13:
            inner = payload + bytes([content_type]) + bytes(padding_len)
            record = self._seal_13(inner, outer_type)
        else:
            assert padding_len == 0
            record = self._seal_12(payload, content_type)
        self.sequence += 1
        return record

    def seal_without_type(self, zeros: int) -> bytes:
        """A TLS 1.3 record that holds nothing but padding: there is no content type."""
        record = self._seal_13(bytes(zeros), 23)
        self.sequence += 1
        return record

    def seal_all(self, data: bytes, size: int = MAX_LEN, *, padding_len: int = 0) -> list[bytes]:
        """Application data in records of `size` bytes, the last one shorter."""
        starts = range(0, len(data), size)
        return [self.seal(data[at : at + size], padding_len=padding_len) for at in starts]

    def skip(self, count: int = 1) -> None:
        """Count records that were made otherwise."""
        self.sequence += count

    # -- by kind of suite --------------------------------------------------------------------------

    def _seal_13(self, inner: bytes, outer_type: int) -> bytes:
        head = header(self.suite, len(inner) + TAG_LEN, outer_type)
        return head + self._cipher().encrypt(self._xored(), inner, head)

    def _seal_12(self, payload: bytes, content_type: int) -> bytes:
        explicit = b""
        if self.suite.cipher_algorithm == AES_GCM:
            explicit = self._explicit.to_bytes(NONCE_LEN, "big")
            self._explicit = (self._explicit + 1) % 2**64
        nonce = self._secrets.iv + explicit if explicit else self._xored()
        head = header(self.suite, len(explicit) + len(payload) + TAG_LEN, content_type)
        sealed = self._cipher().encrypt(nonce, payload, self._additional(head, len(payload)))
        return head + explicit + sealed

    def _seal_cbc(self, payload: bytes, content_type: int, padding_len: int) -> bytes:
        assert padding_len % BLOCK_LEN == 0
        head = header(self.suite, 0, content_type)
        mac = hmac.HMAC(self._secrets.mac_key, HASHES[self.suite.auth_algorithm])
        mac.update(self._additional(head, len(payload)) + payload)
        plain = payload + mac.finalize()
        last = BLOCK_LEN - 1 - len(plain) % BLOCK_LEN + padding_len
        plain += bytes([last]) * (last + 1)
        implicit = self.suite.tls_vminor == 1
        iv = self._chain if implicit else os.urandom(BLOCK_LEN)
        encryptor = Cipher(algorithms.AES(self._secrets.key), modes.CBC(iv)).encryptor()
        sealed = encryptor.update(plain) + encryptor.finalize()
        self._chain = sealed[-BLOCK_LEN:]
        body = sealed if implicit else iv + sealed
        return header(self.suite, len(body), content_type) + body

    def _cipher(self) -> AESGCM | ChaCha20Poly1305:
        gcm = self.suite.cipher_algorithm == AES_GCM
        return AESGCM(self._secrets.key) if gcm else ChaCha20Poly1305(self._secrets.key)

    def _xored(self) -> bytes:
        return (int.from_bytes(self._secrets.iv, "big") ^ self.sequence).to_bytes(12, "big")

    def _additional(self, head: bytes, payload_len: int) -> bytes:
        """What is authenticated with the payload before TLS 1.3 (RFC 5246 §6.2.3)."""
        return self.sequence.to_bytes(8, "big") + head[:3] + payload_len.to_bytes(2, "big")


def changed(record: bytes, at: int) -> bytes:
    """The record with the lowest bit of one byte the other way."""
    position = at % len(record)
    return record[:position] + bytes([record[position] ^ 1]) + record[position + 1 :]


def records_in(wire: bytes) -> list[bytes]:
    """The records that some bytes of a stream are."""
    records = []
    while wire:
        size = HEADER_LEN + int.from_bytes(wire[3:5], "big")
        records.append(wire[:size])
        wire = wire[size:]
    return records


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    """`data` in pieces, as a network may deliver it."""
    for at in range(0, len(data), size):
        yield data[at : at + size]
