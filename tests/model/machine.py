"""A connection that hypothesis writes to in every way there is, in any order.

A write that could block is made while another thread reads; what is left to read then is left for
later, so that buffers fill up and drain at hypothesis's will.
"""

import errno
import io
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import ktls
from keyed_link import connected, parameters
from model.wire_model import APPLICATION_DATA, Collector, WireModel
from record_reader import SUITES, Secrets, Suite

TIMEOUT = 20
FILE_LEN = 300_000
LENS = st.one_of(
    st.integers(0, 300),
    st.sampled_from([4095, 4096, 16383, 16384, 16385, 32768, 32769]),
    st.integers(0, 150_000),
)
CONTENT_TYPES = st.integers(1, 255)


class Connection(RuleBasedStateMachine):
    """Writes, waits and an end; what the far end gets must be what the model says."""

    counts: ClassVar[dict[str, int]] = {"connections": 0, "calls": 0, "records": 0, "bytes": 0}

    def __init__(self) -> None:
        super().__init__()
        self.model = WireModel()
        self.position = 0
        self.ended = False
        self.max_frame_len = 16384

    @initialize(
        small=st.booleans(),
        maxlen=st.sampled_from([512, 4000, 16384]),
        sendspace=st.sampled_from([2048, 70_000, 1 << 20]),
        gather_max=st.sampled_from([0, 1000, 32768]),
        flush_unit=st.sampled_from([16384, 262_144]),
        inline_max=st.sampled_from([0, 65536]),
        delay=st.sampled_from([0, 0, 500]),
    )
    def connect(
        self,
        small: bool,
        maxlen: int,
        sendspace: int,
        gather_max: int,
        flush_unit: int,
        inline_max: int,
        delay: int,
    ) -> None:
        for name, value in (
            ("maxlen", maxlen),
            ("sendspace", sendspace),
            ("gather_max", gather_max),
            ("flush_unit", flush_unit),
            ("inline_max", inline_max),
            ("debug.seal_delay_us", delay),
        ):
            ktls.sysctl["kern.ipc.tls." + name] = value
        self.max_frame_len = maxlen
        near, self.peer = connected(small=small)
        self.sock = ktls.Socket(near)
        self.sock.settimeout(TIMEOUT)
        self.collector = Collector(self.peer)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed in teardown
        self.file.write(os.urandom(FILE_LEN))
        self.file.flush()
        self.counts["connections"] += 1

    # -- what is done ------------------------------------------------------------------------------

    @precondition(lambda self: self.model.secrets is None and not self.ended)
    @rule(suite=st.sampled_from(SUITES))
    def enable(self, suite: Suite) -> None:
        secrets = Secrets(suite)
        self.sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        self.model.secrets = secrets

    @precondition(lambda self: self.model.secrets is not None and not self.ended)
    @rule(suite=st.sampled_from(SUITES))
    def enable_again(self, suite: Suite) -> None:
        try:
            self.sock.setsockopt(
                ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(suite))
            )
        except OSError as error:
            if error.errno != errno.EALREADY:
                raise
        else:
            raise AssertionError("a second set of keys was taken")

    @rule(length=LENS, kind=st.sampled_from([bytes, bytearray, memoryview]), more=st.booleans())
    def send(self, length: int, kind: Callable[[bytes], bytes], more: bool) -> None:
        data = self._data(length)
        buffer = kind(bytearray(data)) if kind is memoryview else kind(data)
        count = self._try(lambda: self.sock.send(buffer, socket.MSG_MORE if more else 0))
        if kind is bytearray:
            buffer[:] = bytes(length)
        self._accept(data[:count])

    @rule(length=LENS)
    def sendall(self, length: int) -> None:
        data = self._data(length)
        if self.sock.gettimeout() == 0:
            # What a failing call has accepted cannot be known.
            return
        if self._try(lambda: self.sock.sendall(data) or length):
            self._accept(data)

    @rule(length=LENS, flags=st.sampled_from([socket.MSG_DONTWAIT, socket.MSG_NOSIGNAL]))
    def send_with_flags(self, length: int, flags: int) -> None:
        data = self._data(length)
        self._accept(data[: self._try(lambda: self.sock.send(data, flags))])

    @rule(lengths=st.lists(LENS, max_size=5))
    def sendmsg(self, lengths: list[int]) -> None:
        data = self._data(sum(lengths))
        stream = io.BytesIO(data)
        parts = [stream.read(length) for length in lengths]
        self._accept(data[: self._try(lambda: self.sock.sendmsg(parts))])

    @rule(length=LENS, content_type=CONTENT_TYPES)
    def sendmsg_typed(self, length: int, content_type: int) -> None:
        data = self._data(length)
        control = (ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([content_type]))
        allowed = bool(data) and self.model.secrets is not None
        count = self._try(lambda: self.sock.sendmsg([data], [control]), refuses=True)
        assert count in (0, length), "a message with a type was torn"
        assert allowed or not count
        self._accept(data[:count], content_type)

    @rule(offset=st.integers(0, FILE_LEN + 10), count=st.one_of(st.none(), LENS.filter(bool)))
    def sendfile(self, offset: int, count: int | None) -> None:
        sent = self._try(lambda: self.sock.sendfile(self.file, offset, count))
        end = FILE_LEN if count is None else min(FILE_LEN, offset + count)
        assert sent <= max(0, end - offset)
        self._accept(os.pread(self.file.fileno(), sent, offset))

    @rule(length=LENS, offset=st.integers(0, 1000))
    def sendfile_from_memory(self, length: int, offset: int) -> None:
        data = self._data(length)
        sent = self._try(lambda: self.sock.sendfile(io.BytesIO(data), offset))
        self._accept(data[offset : offset + sent])

    @rule(timeout=st.sampled_from([0.0, TIMEOUT, None]))
    def set_timeout(self, timeout: float | None) -> None:
        self.sock.settimeout(timeout)

    @rule()
    def flush(self) -> None:
        with self._reader(waits=True):
            self.sock.flush(TIMEOUT)
        assert self.sock._stream.pending == 0

    @rule(most=st.sampled_from([1, 1000, 100_000, 10_000_000]))
    def read_some(self, most: int) -> None:
        self.collector.take(most)

    @precondition(lambda self: not self.ended)
    @rule()
    def shutdown(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)
        self.ended = True

    @invariant()
    def the_wire_has_no_more_than_was_written(self) -> None:
        if hasattr(self, "collector"):
            overhead = 64 * (1 + self.model.size // 512 + len(self.model.writes) * 2)
            assert len(self.collector.wire) <= self.model.size + overhead

    def teardown(self) -> None:
        if not hasattr(self, "sock"):
            return
        try:
            # No flush: what was accepted must drain by itself.
            self.sock.close()
            wire = self.collector.rest(TIMEOUT)
            self.counts["records"] += self.model.check(wire, self.max_frame_len)
            self.counts["bytes"] += self.model.size
        finally:
            self.sock.close()
            self.peer.close()
            self.file.close()

    # -- how ---------------------------------------------------------------------------------------

    def _data(self, length: int) -> bytes:
        """Bytes that no other write has."""
        self.position += 1
        seed = self.position.to_bytes(4, "big")
        return (seed * (length // 4 + 1))[:length]

    def _accept(self, data: bytes, content_type: int = APPLICATION_DATA) -> None:
        assert not (self.ended and data), "accepted after shutdown"
        self.model.accepted(data, content_type)

    def _try(self, call: Callable[[], int], *, refuses: bool = False) -> int:
        """The count of `call`; 0 when there is no room, or nothing can be sent any more."""
        self.counts["calls"] += 1
        with self._reader(waits=self.sock.gettimeout() != 0):
            try:
                return call()
            except BlockingIOError:
                return 0
            except BrokenPipeError:
                assert self.ended
                return 0
            except OSError:
                if not refuses:
                    raise
                return 0

    @contextmanager
    def _reader(self, *, waits: bool) -> Iterator[None]:
        """Somebody reads meanwhile, if the call may wait for it."""
        if not waits:
            yield
            return
        stop = threading.Event()

        def read() -> None:
            while not stop.is_set():
                if not self.collector.take(1 << 20):
                    stop.wait(0.0005)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
