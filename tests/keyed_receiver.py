"""A connection whose one end is a ``ktls.Socket`` that opens: the mirror of ``keyed_link``."""

import errno
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

import ktls
from keyed_link import connected, parameters
from record_reader import Secrets, Suite
from record_writer import RecordWriter

GET_RECORD_LEN = 6
GET_RECORD_SPACE = socket.CMSG_SPACE(GET_RECORD_LEN)
ROOM = 16384
"""Bytes for any one record's payload."""


@dataclass
class ReceivingLink:
    """A connection: `writer` seals, `peer` is the plain socket that sends, `sock` opens."""

    sock: ktls.Socket
    peer: socket.socket
    writer: RecordWriter
    secrets: Secrets

    def send(self, payload: bytes, content_type: int = 23, **how: Any) -> None:
        """Let the peer send one record."""
        self.peer.sendall(self.writer.seal(payload, content_type, **how))

    def send_records(self, *records: tuple[int, bytes]) -> None:
        """Let the peer send records of these types and payloads in one piece."""
        self.peer.sendall(b"".join(self.writer.seal(data, kind) for kind, data in records))


@dataclass(frozen=True)
class Received:
    """What one ``recvmsg`` returned; `record` is the control message, where there was one."""

    data: bytes
    record: tuple[int, int, int, int] | None
    """Content type, version (major, minor), length of the plaintext."""
    flags: int

    @property
    def ends_record(self) -> bool:
        return bool(self.flags & socket.MSG_EOR)

    @property
    def content_type(self) -> int:
        assert self.record is not None, "the record's type did not come"
        return self.record[0]


@contextmanager
def receiving(
    suite: Suite, *, small: bool = False, sequence: int | None = None
) -> Iterator[ReceivingLink]:
    """A connection keyed for `suite`, the first record's number being random unless given."""
    near, far = connected(small=small)
    with ktls.Socket(near) as sock, far:
        sock.settimeout(20)
        far.settimeout(20)
        secrets = Secrets(suite)
        if sequence is not None:
            secrets.sequence = sequence
        enable_receiving(sock, secrets)
        yield ReceivingLink(sock, far, RecordWriter(secrets), secrets)


def enable_receiving(sock: ktls.Socket, secrets: Secrets, **changes: Any) -> None:
    """TCP_RXTLS_ENABLE with these secrets."""
    sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE, parameters(secrets, **changes))


def rekey_receiving(sock: ktls.Socket, keys: ktls.TLSEnable | bytes) -> None:
    """The keys of what comes after a KeyUpdate: the next secret, or all that is known of them."""
    sock.rekey_rx(keys)


def receive(sock: ktls.Socket, room: int = ROOM, flags: int = 0) -> Received:
    """One ``recvmsg`` with room for the control message."""
    data, controls, msg_flags, _ = sock.recvmsg(room, GET_RECORD_SPACE, flags)
    assert not msg_flags & socket.MSG_CTRUNC
    return Received(data, record_of(controls), msg_flags)


def record_of(controls: list[tuple[int, int, bytes]]) -> tuple[int, int, int, int] | None:
    """The one control message that there may be: ``struct tls_get_record``."""
    if not controls:
        return None
    [(level, kind, value)] = controls
    assert (level, kind) == (ktls.IPPROTO_TCP, ktls.TLS_GET_RECORD)
    assert len(value) == GET_RECORD_LEN
    content_type, major, minor, length = struct.unpack(">BBBxH", value)
    return content_type, major, minor, length


def receive_record(link: ReceivingLink) -> tuple[int, bytes]:
    """Type and payload of the next record, all that is said of it being right."""
    got = receive(link.sock)
    minor = min(link.writer.suite.tls_vminor, 3)
    assert got.record == (got.content_type, 3, minor, len(got.data))
    assert got.ends_record
    return got.content_type, got.data


def fails(sock: ktls.Socket, number: int, call: Callable[[], object] | None = None) -> None:
    """The next ``recvmsg`` (or `call`) raises OSError with this number."""
    with pytest.raises(OSError, match=r".") as caught:
        receive(sock, 64) if call is None else call()
    assert caught.value.errno == number, errno.errorcode.get(caught.value.errno or 0)


def assert_dropped(link: ReceivingLink) -> None:
    """The connection is gone, as after ``tcp_drop``: a reset there, the end of the stream here."""
    with pytest.raises(ConnectionResetError):
        link.peer.recv(1)
    assert receive(link.sock) == Received(b"", None, 0)


@contextmanager
def counted(**changes: int) -> Iterator[None]:
    """These counters of ``kern.ipc.tls.stats`` move so far, and not beyond."""
    names = {f"kern.ipc.tls.stats.{name}": change for name, change in changes.items()}
    before = {name: ktls.sysctl[name] for name in names}
    yield
    assert {name: ktls.sysctl[name] - before[name] for name in names} == names


def joined(records: Iterable[bytes]) -> bytes:
    return b"".join(records)
