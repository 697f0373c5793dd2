"""The connections of this process, with what each has carried, for whoever looks at it as a whole.

A connection is here from the moment its socket is taken over to the end of its object. Nothing is
counted for this: the numbers are those that the engine keeps (``rust/engine/src/traffic.rs``).
"""

from __future__ import annotations

import errno
import itertools
import socket
import sys
import weakref
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from ktls import _core, params
from ktls import constants as c
from ktls.constants import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ktls.rx_session import RxSession
    from ktls.session import Session

__all__ = ["Connection", "Endpoint", "Traffic", "find", "gone", "live", "switch"]

Endpoint = tuple[str, int]
"""Numeric host, with the zone of a link-local address, and port."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one direction has carried under its keys; a handshake is before them.

    Sent records are those framed, received ones those taken as a whole, of whatever content type.
    ``payload_bytes`` are without padding; ``wire_bytes`` are whole records, sent ones as far as TCP
    has taken them. ``errors``: 1 for a send side that failed; records that did not open.
    ``queued_bytes``: accepted and not sent; received and not read.
    ``sequence`` is the number of the next record, None without a key.
    """

    records: int = 0
    payload_bytes: int = 0
    wire_bytes: int = 0
    errors: int = 0
    key_changes: int = 0
    queued_bytes: int = 0
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection at one moment. Suites and backends are None where OpenSSL has the keys."""

    id: int  # grows with each connection of the process
    local: Endpoint
    foreign: Endpoint
    stack: str  # whose TCP it is: that of the host, by the name of the system
    state: str  # "open", "draining" after close, "failed"
    tx_mode: Mode
    rx_mode: Mode
    tx_suite: str | None
    rx_suite: str | None
    tx_backend: str | None
    rx_backend: str | None
    tx: Traffic
    rx: Traffic

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON: addresses as lists, modes by name."""
        named = asdict(self)
        return {**named, "tx_mode": self.tx_mode.name, "rx_mode": self.rx_mode.name}


SUMMED: Final = ("records", "payload_bytes", "wire_bytes", "errors", "key_changes")
"""What of a ``Traffic`` can be added up."""


class Face(Protocol):
    """What is registered: a ``ktls.Socket``."""

    _stream: _core.SendStream

    def _connection(self, id: int) -> Connection: ...

    def setsockopt(self, level: int, optname: int, value: Any, /) -> None: ...


class _Entry(weakref.ref[Face]):
    """Leaves the registry with what it refers to."""

    __slots__ = ("key",)

    key: int

    def __new__(cls, face: Face) -> Self:
        self = super().__new__(cls, face, _forget)
        self.key = next(_ids)
        return self


_ids: Final = itertools.count(1)
# Each step on it is one of C, which no thread and no signal handler comes into the middle of.
_entries: Final[dict[int, _Entry]] = {}


def _forget(entry: Any) -> None:
    _entries.pop(entry.key, None)


def add(face: Face) -> None:
    """Register what was just made."""
    entry = _Entry(face)
    _entries[entry.key] = entry


def _faces(after: int = 0) -> Iterator[tuple[int, Face]]:
    """Those of this process, by id: what was inherited by a fork is the parent's."""
    for entry in list(_entries.values()):
        face = entry() if entry.key > after else None
        if face is None:
            continue
        try:
            if not face._stream.closed:
                face._stream.check_process()
        except OSError:
            continue
        yield entry.key, face


def describe(
    id: int, stream: _core.SendStream, session: Session | None, rx_session: RxSession | None
) -> Connection:
    """What is known of the connection of this stream."""
    local, foreign = map(_endpoint, stream.endpoints.split(" "))
    tx, rx = stream.traffic()
    return Connection(
        id,
        local,
        foreign,
        sys.platform,
        _state(stream, tx),
        Mode.NONE if session is None else session.mode,
        Mode.NONE if rx_session is None else rx_session.mode,
        _suite(session),
        _suite(rx_session),
        None if session is None else session.backend,
        None if rx_session is None else rx_session.backend,
        _traffic(tx),
        _traffic(rx),
    )


def live(after: int = 0) -> Iterator[Connection]:
    """Those of this process that have a peer or keys, by their ids, from the one after `after`.

    The foreign address is ``("", 0)`` without a peer: before there is one, and when it failed.
    """
    for id, face in _faces(after):
        connection = face._connection(id)
        is_used = connection.foreign[0] or connection.tx_mode or connection.rx_mode
        if is_used and connection.local[0]:
            yield connection


def find(local: Endpoint, foreign: Endpoint) -> Face:
    """The socket with these two ends.  Raises OSError ESRCH, as the kernel's own table does."""
    wanted = _comparable(local), _comparable(foreign)
    for _, face in _faces():
        if face._stream.closed:
            continue
        ends = map(_endpoint, face._stream.endpoints.split(" "))
        if tuple(map(_comparable, ends)) == wanted:
            return face
    raise OSError(
        errno.ESRCH, f"no connection from {local[0]} port {local[1]} to {foreign[0]} {foreign[1]}"
    )


def switch(local: Endpoint, foreign: Endpoint, mode: int) -> None:
    """TCP_TXTLS_MODE of one connection.  Raises OSError: ESRCH, and as ``Socket.setsockopt``."""
    find(local, foreign).setsockopt(c.IPPROTO_TCP, c.TCP_TXTLS_MODE, mode)


def gone() -> dict[str, dict[str, int]]:
    """The sums of the connections that are gone, ``tx`` and ``rx``.

    One that drains after its object has gone is among them when it has ended.
    """
    counters = _core.counters()
    return {way: {name: counters[f"gone.{way}.{name}"] for name in SUMMED} for way in ("tx", "rx")}


def _state(stream: _core.SendStream, tx: dict[str, int | None]) -> str:
    if tx["errors"]:
        return "failed"
    return "draining" if stream.closed else "open"


def _traffic(named: dict[str, int | None]) -> Traffic:
    return Traffic(**named)  # type: ignore[arg-type]  # only `sequence` may be None


def _suite(session: Session | RxSession | None) -> str | None:
    if session is None:
        return None
    return params.suite_name(session.tls_vminor, session.cipher_algorithm, session.key_len)


def _endpoint(text: str) -> Endpoint:
    """``127.0.0.1:443``, ``[::1]:443``, or ``-``: nothing there."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port) if host else 0


def _comparable(endpoint: Endpoint) -> tuple[bytes, int]:
    """The same for an IPv4 address and for what an IPv6 socket shows of it."""
    host, port = endpoint
    try:
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        packed = _MAPPED + socket.inet_pton(socket.AF_INET, host) if host else b""
    return packed, port


_MAPPED: Final = bytes(10) + b"\xff\xff"
"""What begins an IPv4 address in an IPv6 one (RFC 4291 2.5.5.2)."""
