"""Makes cbc_records.txt: AES-CBC records of TLS 1.0 to 1.2, built with `cryptography` alone.

Run `python cbc_records.py > cbc_records.txt` in this directory.  All input is derived from labels,
so that the output is the same every time.  Each record follows the text of RFC 2246 and RFC 5246
§6.2.3.2, or RFC 7366 §3; nothing of this project is used.
"""

import hashlib
from dataclasses import dataclass
from importlib.metadata import version as version_of
from itertools import product

from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

WIRE = {"1.0": bytes([3, 1]), "1.1": bytes([3, 2]), "1.2": bytes([3, 3])}
HASHES: dict[str, hashes.HashAlgorithm] = {
    "SHA1": hashes.SHA1(),  # noqa: S303
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
}
SUITES = [("1.0", "SHA1"), ("1.1", "SHA1"), ("1.2", "SHA1"), ("1.2", "SHA256"), ("1.2", "SHA384")]
# Payload length, and whole blocks of padding beyond the least.
SHAPES = [(0, 0), (1, 0), (12, 0), (16, 0), (64, 0), (100, 1), (333, 14), (16, 15)]


def filler(label: str, size: int) -> bytes:
    """Return `size` bytes that the label determines."""
    return hashlib.shake_128(label.encode()).digest(size)


@dataclass
class Direction:
    """The keys of one direction and how it builds records."""

    version: str
    mac: str
    order: str
    key: bytes
    mac_key: bytes

    def hmac(self, data: bytes) -> bytes:
        """Return the MAC of `data`."""
        context = hmac.HMAC(self.mac_key, HASHES[self.mac])
        context.update(data)
        return context.finalize()

    def encrypt(self, iv: bytes, text: bytes) -> bytes:
        """Encrypt whole blocks."""
        encryptor = Cipher(algorithms.AES(self.key), modes.CBC(iv)).encryptor()
        return encryptor.update(text) + encryptor.finalize()

    def record(self, sequence: int, kind: int, payload: bytes, iv: bytes, blocks: int) -> bytes:
        """Build one whole record."""
        sent_iv = b"" if self.version == "1.0" else iv
        numbered = sequence.to_bytes(8, "big") + bytes([kind]) + WIRE[self.version]

        def mac_input(text: bytes) -> bytes:
            return numbered + len(text).to_bytes(2, "big") + text

        if self.order == "MtE":
            plain = payload + self.hmac(mac_input(payload))
            body = sent_iv + self.encrypt(iv, plain + padding(len(plain), blocks))
        else:
            body = sent_iv + self.encrypt(iv, payload + padding(len(payload), blocks))
            body += self.hmac(mac_input(body))
        return bytes([kind]) + WIRE[self.version] + len(body).to_bytes(2, "big") + body


def padding(length: int, blocks: int) -> bytes:
    """Return the padding of `length` bytes: to the next block and `blocks` more."""
    count = 16 - length % 16 + 16 * blocks
    return bytes([count - 1]) * count


def main() -> None:
    """Print the file."""
    print("# AES-CBC records of TLS 1.0 to 1.2. IV is the one of the record; ExtraBlocks is the")
    print("# padding beyond the least, in blocks.")
    print("#")
    print("# Origin: made for this project by cbc_records.py beside this file, with cryptography")
    print(f"# {version_of('cryptography')}.")
    for (version, mac), key_len, order in product(SUITES, (16, 32), ("MtE", "EtM")):
        name = f"TLS {version} AES-{8 * key_len}-CBC HMAC-{mac} {order}"
        mac_len = HASHES[mac].digest_size
        direction = Direction(
            version, mac, order, filler(name + " key", key_len), filler(name + " mac", mac_len)
        )
        print(f"\n[{name}]")
        for index, (length, blocks) in enumerate(SHAPES):
            label = f"{name} {index}"
            sequence = int.from_bytes(filler(label + " sequence", 4), "big")
            kind = 21 if index == 1 else 23
            payload, iv = filler(label + " payload", length), filler(label + " iv", 16)
            record = direction.record(sequence, kind, payload, iv, blocks)
            print(f"\nKey = {direction.key.hex()}\nMacKey = {direction.mac_key.hex()}")
            print(f"IV = {iv.hex()}\nSequence = {sequence}\nType = {kind}")
            print(f"Payload = {payload.hex()}\nExtraBlocks = {blocks}\nRecord = {record.hex()}")


if __name__ == "__main__":
    main()
