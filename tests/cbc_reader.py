"""Opens AES-CBC records of TLS 1.0 to 1.2 with the ``cryptography`` package, MAC before encryption.

The part of ``record_reader`` for suites with a MAC; nothing here uses the code under test.
"""

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

HASHES = {7: hashes.SHA1(), 18: hashes.SHA256(), 19: hashes.SHA384()}  # noqa: S303
"""By the number of the HMAC."""
HEADER_LEN = 5
BLOCK_LEN = 16


def mac_len(auth_algorithm: int) -> int:
    return HASHES[auth_algorithm].digest_size


class CBCReader:
    """Opens one record after another; `iv` is the first one's in TLS 1.0."""

    def __init__(self, key: bytes, iv: bytes, auth_algorithm: int, mac_key: bytes) -> None:
        self._aes = algorithms.AES(key)
        self._hash = HASHES[auth_algorithm]
        self._mac_key = mac_key
        self._chain = iv

    def open(self, sequence: int, header: bytes, body: bytes) -> tuple[bytes, bytes]:
        """IV and payload of the record with this number."""
        if header[2] == 1:
            iv = self._chain
        else:
            iv, body = body[:BLOCK_LEN], body[BLOCK_LEN:]
        self._chain = body[-BLOCK_LEN:]
        decryptor = Cipher(self._aes, modes.CBC(iv)).decryptor()
        plain = decryptor.update(body) + decryptor.finalize()
        padding = plain[-1] + 1
        # What seals here never pads more than it must.
        assert 1 <= padding <= BLOCK_LEN
        assert plain[-padding:] == bytes([padding - 1]) * padding
        plain = plain[:-padding]
        payload, mac = plain[: -self._hash.digest_size], plain[-self._hash.digest_size :]
        expected = hmac.HMAC(self._mac_key, self._hash)
        number = sequence.to_bytes(8, "big")
        expected.update(number + header[:3] + len(payload).to_bytes(2, "big") + payload)
        expected.verify(mac)
        return iv, payload
