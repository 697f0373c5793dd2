"""TLS records and handshake messages as byte strings: cut apart, and made.  No keys."""

from collections.abc import Iterator

HEADER_SIZE = 5
CLIENT_HELLO, SERVER_HELLO = 1, 2
ENCRYPT_THEN_MAC = 22
"""The extension (RFC 7366)."""


def record(content_type: int, payload: bytes) -> bytes:
    """A record of TLS 1.2 and later, in the clear."""
    return bytes([content_type, 3, 3]) + len(payload).to_bytes(2, "big") + payload


def split_records(data: bytes) -> Iterator[bytes]:
    """Cut `data` into whole records.  ValueError when it does not end with one."""
    start = 0
    while start < len(data):
        end = start + HEADER_SIZE + int.from_bytes(data[start + 3 : start + HEADER_SIZE], "big")
        if len(data) - start < HEADER_SIZE or end > len(data):
            raise ValueError(f"{len(data) - start} bytes left that are no whole record")
        yield data[start:end]
        start = end


def hello_random(message: bytes) -> bytes:
    """The random of a ClientHello or a ServerHello, with its 4-byte header (RFC 8446 §4.1.2)."""
    assert message[0] in (CLIENT_HELLO, SERVER_HELLO)
    return message[6:38]


def server_hello_extensions(message: bytes) -> dict[int, bytes]:
    """The extensions of a ServerHello, with its 4-byte header (RFC 8446 §4.1.3)."""
    assert message[0] == SERVER_HELLO
    # Session id, cipher suite, compression method, length of the extensions.
    start = 38 + 1 + message[38] + 2 + 1 + 2
    extensions = {}
    while start < len(message):
        kind, size = (int.from_bytes(message[at : at + 2], "big") for at in (start, start + 2))
        extensions[kind] = message[start + 4 : start + 4 + size]
        start += 4 + size
    return extensions
