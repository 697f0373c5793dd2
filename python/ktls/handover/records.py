"""TLS records as byte strings: cut apart what OpenSSL wrote, put handshake messages together again.

No I/O, no keys, and no opinion on what a message says.
"""

from collections.abc import Iterator
from typing import Final

__all__ = [
    "HEADER_SIZE",
    "MessageReader",
    "plausible_header",
    "record_size",
    "split_records",
]

HEADER_SIZE: Final = 5

_MAX_FRAGMENT: Final = 16384 + 2048  # RFC 5246 §6.2.3, the loosest limit of all versions
_CONTENT_TYPES: Final = range(20, 25)


def record_size(header: bytes) -> int:
    """Return the size of the record that begins with these 5 bytes, header included."""
    return HEADER_SIZE + int.from_bytes(header[3:5], "big")


def plausible_header(header: bytes) -> bool:
    """Whether 5 bytes can begin a TLS record at all; what cannot is left to OpenSSL to refuse."""
    return (
        header[0] in _CONTENT_TYPES
        and header[1] == 3
        and record_size(header) <= HEADER_SIZE + _MAX_FRAGMENT
    )


def split_records(data: bytes) -> Iterator[bytes]:
    """Cut `data` into whole records.

    ValueError when it does not end with a record.
    """
    start = 0
    while start < len(data):
        end = start + record_size(data[start : start + HEADER_SIZE])
        if len(data) - start < HEADER_SIZE or end > len(data):
            raise ValueError(f"{len(data) - start} bytes left that are no whole record")
        yield data[start:end]
        start = end


class MessageReader:
    """Handshake messages out of the payloads of handshake records (RFC 8446 §5.1)."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, payload: bytes) -> Iterator[bytes]:
        """Yield every message that `payload` completes, with its 4-byte header."""
        self._buffer += payload
        while len(self._buffer) >= 4:
            size = 4 + int.from_bytes(self._buffer[1:4], "big")
            if len(self._buffer) < size:
                return
            message, self._buffer = self._buffer[:size], self._buffer[size:]
            yield message

    @property
    def at_boundary(self) -> bool:
        """Whether no message is begun and not ended."""
        return not self._buffer
