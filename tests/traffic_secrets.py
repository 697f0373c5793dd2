"""TLS 1.3 traffic secrets (RFC 8446 §7.2), derived here anew, and a reader that follows them."""

import os
import socket
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from record_reader import RecordReader, Secrets, Suite, raw_records

KEY_UPDATE = bytes([24, 0, 0, 1, 0])


@dataclass
class TrafficSecret:
    """The secret of one generation of keys; a random one unless given."""

    suite: Suite
    value: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if not self.value:
            self.value = os.urandom(48 if self.suite.name.endswith("aes256-gcm") else 32)

    def secrets(self) -> Secrets:
        """Its keys, from number 0."""
        secrets = Secrets(self.suite)
        secrets.key = self._expanded(b"key", self.suite.key_len)
        secrets.iv = self._expanded(b"iv", 12)
        secrets.sequence = 0
        return secrets

    def next(self) -> "TrafficSecret":
        """The secret after a KeyUpdate."""
        return TrafficSecret(self.suite, self._expanded(b"traffic upd", len(self.value)))

    def row(self, count: int) -> list["TrafficSecret"]:
        """This one and those after it."""
        secrets = [self]
        while len(secrets) < count:
            secrets.append(secrets[-1].next())
        return secrets

    def _expanded(self, label: bytes, length: int) -> bytes:
        """HKDF-Expand-Label with an empty context (RFC 8446 §7.1)."""
        hash_ = hashes.SHA384() if len(self.value) == 48 else hashes.SHA256()
        label = b"tls13 " + label
        info = length.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
        return HKDFExpand(hash_, length, info).derive(self.value)


def read_generations(
    peer: socket.socket, first: RecordReader, secret: TrafficSecret
) -> list[list[tuple[int, bytes]]]:
    """All records up to the end of the stream, in a list for each generation of keys.

    `secret` is that after the first KeyUpdate.
    """
    reader = first
    generations: list[list[tuple[int, bytes]]] = [[]]
    for record in raw_records(peer):
        content_type, payload = reader.open(record)
        generations[-1].append((content_type, payload))
        if (content_type, payload) == (22, KEY_UPDATE):
            reader = RecordReader(secret.secrets())
            secret = secret.next()
            generations.append([])
    return generations
