"""What a connection should look like from its far end: a list of writes, in order.

A write is a content type and bytes, and what is known of its records: whose keys sealed them, how
long they may be, and whether they are shared with the write before.  Where a call met no lack of
room all of that is known; where it did, records may end earlier, and what waits may be sealed by
later keys.  The content is always known.
"""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from cryptography.exceptions import InvalidTag

from record_reader import HEADER_LEN, RecordReader, Secrets

APPLICATION_DATA = 23


class Known(Enum):
    """Whether something is so."""

    NO = auto()
    YES = auto()
    MAYBE = auto()

    def unsure(self) -> "Known":
        """The same, after something that may have made a yes a no."""
        return Known.NO if self is Known.NO else Known.MAYBE


@dataclass(eq=False)
class Write:
    """`joins`: whether its first record is the last one of the write before.

    `first` and `last`: the generations of keys that may have sealed it, 0 for clear text. `limits`:
    how many bytes its records hold when they are full. `torn`: they may end before.
    """

    content_type: int
    data: bytes
    first: int
    last: int
    limits: set[int]
    joins: Known = Known.NO
    torn: bool = False


@dataclass
class WireModel:
    """The writes that were accepted so far, and what a next one would find."""

    space: int
    pad_to: int = 0
    writes: list[Write] = field(default_factory=list)
    generations: list[Secrets] = field(default_factory=list)
    limit: int = 16384
    open: Known = Known.NO
    open_len: int = 0
    corks: int = 0
    # Bytes accepted since nothing was held.
    held: int = 0

    @property
    def size(self) -> int:
        return sum(len(write.data) for write in self.writes)

    @property
    def keyed(self) -> bool:
        return bool(self.generations)

    def fits(self, length: int) -> bool:
        """Whether a write of this length surely finds room."""
        return self.held + length <= self.space

    # -- what is written ---------------------------------------------------------------------------

    def accepted(self, data: bytes, wanted: int, *, more: bool = False) -> Write | None:
        """`data` of a write of `wanted` bytes, which has returned."""
        return self._accepted(data, wanted, more=more or self.corks > 0)

    def _accepted(self, data: bytes, wanted: int, *, more: bool) -> Write | None:
        if not wanted:
            return None
        sure = self.fits(wanted) and len(data) == wanted
        write = self._append(APPLICATION_DATA, data, sure)
        if not sure:
            self.open = Known.MAYBE if more else self.open.unsure()
            if data and not more:
                self.open = Known.NO if len(data) == wanted else Known.MAYBE
        elif more:
            joined = self.open_len if write and write.joins is Known.YES else 0
            self.open_len = (joined + wanted) % self.limit
            self._leave_open(write)
        else:
            self.open = Known.NO
        return write

    def queued(self, data: bytes) -> Write | None:
        """`data` of an asynchronous write: framed now if it fits, else later.

        It closes the record that it joins, also inside a cork.
        """
        if not data:
            self.open = self.open.unsure()
            return None
        if self.fits(len(data)):
            return self._accepted(data, len(data), more=False)
        write = self._append(APPLICATION_DATA, data, False)
        self.open = self.open.unsure()
        return write

    def typed(self, data: bytes, content_type: int) -> None:
        """A message with a record type; nothing joins it."""
        sure = self.fits(len(data))
        self.open = Known.NO
        self._append(content_type, data, sure)

    def file(self, data: bytes, wanted: int, *, read: bool) -> None:
        """`data` of a file; `read` here, and sent piece by piece."""
        sure = self.fits(wanted) and not read
        if not data:
            self.open = self.open.unsure()
            return
        before = self.open.unsure() if read else Known.NO
        self.open = before
        self._append(APPLICATION_DATA, data, sure)
        self.open = Known.MAYBE if self.corks else Known.NO

    def refused(self) -> None:
        """A call found no room, and closed what was open."""
        self.open = self.open.unsure()

    def cancelled(self, write: Write) -> None:
        """It was never framed."""
        self.writes.remove(write)

    def _append(self, content_type: int, data: bytes, sure: bool) -> Write | None:
        if not data:
            return None
        joins = self.open if sure else self.open.unsure()
        generation = len(self.generations)
        write = Write(
            content_type, bytes(data), generation, generation, {self.limit}, joins, not sure
        )
        self.writes.append(write)
        self.held += len(data)
        return write

    def _leave_open(self, write: Write | None) -> None:
        if write is not None and write.joins is Known.MAYBE:
            # Where the record began is not known, nor whether it is full.
            self.open = Known.MAYBE
        else:
            self.open = Known.YES if self.open_len else Known.NO

    # -- what happens to the connection ------------------------------------------------------------

    def flushed(self) -> None:
        self.open = Known.NO
        self.held = 0

    def cork(self, waiting: list[Write]) -> None:
        self.corks += 1
        for write in waiting:
            write.joins = Known.MAYBE
        if waiting:
            self.open = Known.MAYBE

    def uncork(self) -> None:
        self.corks -= 1
        if not self.corks:
            self.open = Known.NO

    def new_keys(self, secrets: Secrets, waiting: list[Write]) -> None:
        """What is not framed is sealed with them, but clear text stays clear text."""
        self.generations.append(secrets)
        self.open = Known.NO
        for write in waiting:
            if write.first:
                write.last = len(self.generations)

    def new_limit(self, limit: int, waiting: list[Write]) -> None:
        self.limit = limit
        self.open = Known.NO
        for write in waiting:
            write.limits.add(limit)

    # -- what arrived ------------------------------------------------------------------------------

    def check(self, wire: bytes) -> int:
        """Open `wire` and compare; returns the number of records."""
        clear = b"".join(write.data for write in self.writes if not write.first)
        assert wire[: len(clear)] == clear
        sealed = [write for write in self.writes if write.first]
        return _Comparison(self, sealed).run(wire[len(clear) :])


class _Comparison:
    """Goes along the records and the writes at once."""

    def __init__(self, model: WireModel, writes: list[Write]) -> None:
        self._pad_to = model.pad_to
        self._generations = model.generations
        self._writes = writes
        self._index = 0
        self._offset = 0
        self._generation = 0
        self._reader: RecordReader | None = None

    def run(self, wire: bytes) -> int:
        position = count = 0
        while position < len(wire):
            size = HEADER_LEN + int.from_bytes(wire[position + 3 : position + 5], "big")
            assert position + size <= len(wire), "the wire ends inside a record"
            content_type, payload = self._open(wire[position : position + size])
            self._compare(content_type, payload)
            position += size
            count += 1
        left = sum(len(write.data) for write in self._writes[self._index :]) - self._offset
        assert not left, f"{left} bytes never came"
        return count

    def _open(self, record: bytes) -> tuple[int, bytes]:
        """With the keys in use, or those after them."""
        while True:
            if self._reader is not None:
                try:
                    return self._reader.open(record)
                except InvalidTag:
                    pass
            assert self._generation < len(self._generations), "a record that no key opens"
            secrets = self._generations[self._generation]
            self._reader = RecordReader(secrets, padded=self._pad_to > 0)
            self._generation += 1

    def _compare(self, content_type: int, payload: bytes) -> None:
        assert payload, "an empty record"
        done = 0
        limits: set[int] = set()
        torn = False
        while done < len(payload):
            assert self._index < len(self._writes), "a record that nobody wrote"
            write = self._writes[self._index]
            assert write.content_type == content_type
            assert write.first <= self._generation <= write.last
            if done and not self._offset:
                assert write.joins is not Known.NO, "two writes share a record"
            part = write.data[self._offset : self._offset + len(payload) - done]
            assert payload[done : done + len(part)] == part
            done += len(part)
            self._offset += len(part)
            limits |= write.limits
            torn = torn or write.torn
            if self._offset == len(write.data):
                self._index += 1
                self._offset = 0
        assert len(payload) <= max(limits)
        self._check_padding(len(payload), limits)
        if len(payload) not in limits and not torn:
            self._check_end()

    def _check_end(self) -> None:
        """It is not full: another write may follow, but not the rest of this one."""
        assert not self._offset, "a record that ends too early"
        if self._index < len(self._writes):
            assert self._writes[self._index].joins is not Known.YES, "two writes do not share one"

    def _check_padding(self, length: int, limits: set[int]) -> None:
        assert self._reader is not None
        tls13 = self._generations[0].suite.tls_vminor == 4
        multiple = self._pad_to if tls13 and self._pad_to else 1
        padded = -(-length // multiple) * multiple
        allowed = {min(padded, limit) - length for limit in limits if length <= limit}
        assert self._reader.padding_len in allowed


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
