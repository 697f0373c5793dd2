"""What a connection should look like from its far end: a list of writes, in order.

A write is a content type, bytes, and the keys that it was sealed with; records never join two
writes, and are cut where a write is longer than a record may be.
"""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from record_reader import RecordReader, Secrets

APPLICATION_DATA = 23


@dataclass
class Write:
    """`secrets` is None for clear text."""

    content_type: int
    data: bytes
    secrets: Secrets | None


@dataclass
class WireModel:
    """The writes that were accepted so far."""

    writes: list[Write] = field(default_factory=list)
    secrets: Secrets | None = None

    def accepted(self, data: bytes, content_type: int = APPLICATION_DATA) -> None:
        if data:
            self.writes.append(Write(content_type, bytes(data), self.secrets))

    @property
    def size(self) -> int:
        return sum(len(write.data) for write in self.writes)

    def check(self, wire: bytes, max_frame_len: int) -> int:
        """Open `wire` and compare; returns the number of records."""
        position = 0
        count = 0
        readers: dict[int, RecordReader] = {}
        for write in self.writes:
            if write.secrets is None:
                assert wire[position : position + len(write.data)] == write.data
                position += len(write.data)
                continue
            reader = readers.setdefault(id(write.secrets), RecordReader(write.secrets))
            payload = bytearray()
            while len(payload) < len(write.data):
                assert len(wire) >= position + 5, "the wire ends early"
                size = 5 + int.from_bytes(wire[position + 3 : position + 5], "big")
                content_type, part = reader.open(wire[position : position + size])
                assert content_type == write.content_type
                assert 0 < len(part) <= max_frame_len
                payload += part
                position += size
                count += 1
            assert payload == write.data
        assert position == len(wire), f"{len(wire) - position} bytes that nobody wrote"
        return count


class Collector:
    """Reads a socket when told to, and keeps everything."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self.wire = bytearray()

    def take(self, most: int) -> int:
        """What is there, at most `most` bytes, without waiting."""
        self._peer.setblocking(False)
        try:
            part = self._receive(most)
        except BlockingIOError:
            return 0
        self.wire += part
        return len(part)

    def rest(self, timeout: float) -> bytes:
        """Everything up to the end of the stream."""
        self._peer.settimeout(timeout)
        self.wire += b"".join(_until_end(lambda: self._receive(1 << 20)))
        return bytes(self.wire)

    def _receive(self, most: int) -> bytes:
        part = self._peer.recv(most)
        # A sender with a tiny buffer would otherwise wait for every delayed acknowledgement.
        self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return part


def _until_end(receive: Callable[[], bytes]) -> Iterator[bytes]:
    while part := receive():
        yield part
