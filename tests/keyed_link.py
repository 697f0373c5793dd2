"""A connection whose one end is a keyed ``ktls.Socket``."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ktls
from record_reader import RecordReader, Secrets, Suite, read_record, read_records

ALERT = [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([21]))]
"""The control messages of a record of type alert."""


@dataclass
class Link:
    """A connection: `sock` seals, `peer` is the plain socket at the other end, `reader` opens."""

    sock: ktls.Socket
    peer: socket.socket
    reader: RecordReader
    secrets: Secrets

    def read(self, size: int) -> bytes:
        """The payload of the next records, of so many bytes in all."""
        data = b""
        while len(data) < size:
            data += self.read_some()
        assert len(data) == size, "a record reaches beyond what was written"
        return data

    def read_some(self) -> bytes:
        """The payload of the next record."""
        return read_record(self.peer, self.reader)[1]


def parameters(secrets: Secrets, **changes: Any) -> ktls.TLSEnable:
    """The argument of TCP_TXTLS_ENABLE for these secrets."""
    values: dict[str, Any] = {
        "cipher_algorithm": secrets.suite.cipher_algorithm,
        "cipher_key": secrets.key,
        "iv": secrets.iv,
        "tls_vminor": secrets.suite.tls_vminor,
        "rec_seq": secrets.rec_seq,
        "auth_algorithm": secrets.suite.auth_algorithm,
        "auth_key": secrets.mac_key,
    }
    return ktls.TLSEnable(**(values | changes))


def connected(*, small: bool = False) -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection; `small`: with the smallest buffers there are."""
    with socket.socket() as server:
        if small:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen()
        near = socket.socket()
        if small:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        near.connect(server.getsockname())
        far, _ = server.accept()
    return near, far


@contextmanager
def linked(suite: Suite, *, small: bool = False) -> Iterator[Link]:
    """A keyed connection, closed at the end."""
    near, far = connected(small=small)
    with ktls.Socket(near) as sock, far:
        far.settimeout(20)
        secrets = Secrets(suite)
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        yield Link(sock, far, RecordReader(secrets), secrets)


def nothing_has_arrived(peer: socket.socket) -> None:
    """There is neither data nor an end to read now."""
    assert not select.select([peer], [], [], 0)[0]


def records_of(link: Link) -> list[tuple[int, bytes]]:
    """Close our end; the content types and payloads of all records."""
    link.sock.close()
    return read_records(link.peer, link.reader)


def reset(peer: socket.socket) -> None:
    """End the connection without a word."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()
