"""Opens TLS records with the ``cryptography`` package: an opinion of its own about every byte.

Nothing here uses the code under test.
"""

import os
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from cbc_reader import BLOCK_LEN, CBCReader, mac_len

AES_CBC = 11
SHA1, SHA256, SHA384 = 7, 18, 19
AES_GCM = 25
CHACHA20_POLY1305 = 41
HEADER_LEN = 5


@dataclass(frozen=True)
class Suite:
    """A cipher suite as the socket option describes it."""

    name: str
    tls_vminor: int
    cipher_algorithm: int
    key_len: int
    iv_len: int
    auth_algorithm: int = 0

    def __str__(self) -> str:
        return self.name

    @property
    def overhead(self) -> int:
        """Bytes that a record is longer than its payload; with AES-CBC at most."""
        if self.cipher_algorithm == AES_CBC:
            explicit = 0 if self.tls_vminor == 1 else BLOCK_LEN
            return HEADER_LEN + explicit + mac_len(self.auth_algorithm) + BLOCK_LEN
        if self.tls_vminor == 4:
            return HEADER_LEN + 1 + 16
        return HEADER_LEN + 16 + (8 if self.cipher_algorithm == AES_GCM else 0)


SUITES = [
    Suite("tls12-aes128-gcm", 3, AES_GCM, 16, 4),
    Suite("tls12-aes256-gcm", 3, AES_GCM, 32, 4),
    Suite("tls12-chacha20", 3, CHACHA20_POLY1305, 32, 12),
    Suite("tls13-aes128-gcm", 4, AES_GCM, 16, 12),
    Suite("tls13-aes256-gcm", 4, AES_GCM, 32, 12),
    Suite("tls13-chacha20", 4, CHACHA20_POLY1305, 32, 12),
]
CBC_SUITES = [
    Suite(f"tls1{minor - 1}-aes{key_len * 8}-cbc-{name}", minor, AES_CBC, key_len, iv_len, auth)
    for key_len in (16, 32)
    for minor, iv_len, name, auth in (
        (1, 16, "sha1", SHA1),
        (2, 0, "sha1", SHA1),
        (3, 0, "sha1", SHA1),
        (3, 0, "sha256", SHA256),
        (3, 0, "sha384", SHA384),
    )
]

ALL_SUITES = SUITES + CBC_SUITES


@dataclass
class Secrets:
    """Random keys and a random number of the first record."""

    suite: Suite
    key: bytes = field(init=False, repr=False)
    iv: bytes = field(init=False, repr=False)
    mac_key: bytes = field(init=False, repr=False)
    sequence: int = field(init=False)

    def __post_init__(self) -> None:
        self.key = os.urandom(self.suite.key_len)
        self.iv = os.urandom(self.suite.iv_len)
        auth_algorithm = self.suite.auth_algorithm
        self.mac_key = os.urandom(mac_len(auth_algorithm)) if auth_algorithm else b""
        self.sequence = random.getrandbits(63)

    @property
    def rec_seq(self) -> bytes:
        return self.sequence.to_bytes(8, "big")


class RecordReader:
    """Opens the records of one direction, one after another.

    `padded`: zeros behind the content type are allowed (RFC 8446 §5.4), and counted.
    """

    def __init__(self, secrets: Secrets, *, padded: bool = False) -> None:
        suite = secrets.suite
        self._cbc = None
        match suite.cipher_algorithm:
            case 25:
                self._cipher = AESGCM(secrets.key)
            case 41:
                self._cipher = ChaCha20Poly1305(secrets.key)
            case _:
                self._cbc = CBCReader(
                    secrets.key, secrets.iv, suite.auth_algorithm, secrets.mac_key
                )
        self._iv = secrets.iv
        self._suite = suite
        self.sequence = secrets.sequence
        self.nonces: set[bytes] = set()
        self._padded = padded
        self.padding_len = 0

    def open(self, record: bytes) -> tuple[int, bytes]:
        """Content type and payload of a whole record; `padding_len` is that of the last one."""
        header, body = record[:HEADER_LEN], record[HEADER_LEN:]
        assert header[1:3] == bytes([3, min(self._suite.tls_vminor, 3)])
        assert int.from_bytes(header[3:5], "big") == len(body)
        if self._cbc is not None:
            iv, payload = self._cbc.open(self.sequence, header, body)
            self._fresh(iv)
            opened = (header[0], payload)
        elif self._suite.tls_vminor == 4:
            opened = self._open_13(header, body)
        else:
            opened = self._open_12(header, body)
        self.sequence += 1
        return opened

    def _open_13(self, header: bytes, body: bytes) -> tuple[int, bytes]:
        assert header[0] == 23
        inner = self._cipher.decrypt(self._fresh(self._xored()), body, header)
        content = inner.rstrip(b"\0")
        assert content, "a record without a content type"
        self.padding_len = len(inner) - len(content)
        assert self._padded or not self.padding_len
        return content[-1], content[:-1]

    def _open_12(self, header: bytes, body: bytes) -> tuple[int, bytes]:
        if self._suite.cipher_algorithm == AES_GCM:
            nonce, body = self._iv + body[:8], body[8:]
        else:
            nonce = self._xored()
        length = (len(body) - 16).to_bytes(2, "big")
        additional = self.sequence.to_bytes(8, "big") + header[:3] + length
        return header[0], self._cipher.decrypt(self._fresh(nonce), body, additional)

    def _xored(self) -> bytes:
        return (int.from_bytes(self._iv, "big") ^ self.sequence).to_bytes(12, "big")

    def _fresh(self, nonce: bytes) -> bytes:
        assert nonce not in self.nonces, "a nonce was used twice"
        self.nonces.add(nonce)
        return nonce


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """`size` bytes, fewer at the end of the stream."""
    data = bytearray()
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            break
        data += part
        # A sender with a tiny buffer would otherwise wait for every delayed acknowledgement.
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    return bytes(data)


def raw_records(sock: socket.socket, *, cut_off: bool = False) -> Iterator[bytes]:
    """The records of a stream up to its end, still sealed; `cut_off`: the last may be a part."""
    while header := read_exactly(sock, HEADER_LEN):
        size = int.from_bytes(header[3:5], "big")
        body = read_exactly(sock, size)
        if cut_off and len(body) < size:
            return
        assert len(body) == size, "the stream ends inside a record"
        yield header + body


def read_record(sock: socket.socket, reader: RecordReader) -> tuple[int, bytes]:
    """Content type and payload of the next record."""
    return reader.open(next(raw_records(sock)))


def read_records(sock: socket.socket, reader: RecordReader) -> list[tuple[int, bytes]]:
    """Content types and payloads up to the end of the stream."""
    return [reader.open(record) for record in raw_records(sock)]


def read_data(sock: socket.socket, reader: RecordReader, *, cut_off: bool = False) -> bytes:
    """The application data up to the end of the stream; `cut_off` as for `raw_records`."""
    data = bytearray()
    for record in raw_records(sock, cut_off=cut_off):
        content_type, payload = reader.open(record)
        assert content_type == 23
        data += payload
    return bytes(data)
