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
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import ktls
from keyed_link import connected, parameters
from model.wire_model import Collector, Known, WireModel, Write
from record_reader import SUITES, Secrets, Suite

if TYPE_CHECKING:
    from concurrent.futures import Future

TIMEOUT = 20
FILE_LEN = 300_000
LENS = st.one_of(
    st.integers(0, 300),
    st.sampled_from([4095, 4096, 16383, 16384, 16385, 32768, 32769]),
    st.integers(0, 150_000),
)
CONTENT_TYPES = st.integers(1, 255)
KINDS = st.sampled_from([bytes, bytearray, memoryview])
LIMITS = st.one_of(st.integers(63, 16384), st.sampled_from([63, 64, 512, 16383, 16384]))
PAYLOAD_LEN = (ktls.SOL_TLS, ktls.TLS_TX_MAX_PAYLOAD_LEN)


class Connection(RuleBasedStateMachine):
    """Writes, waits and an end; what the far end gets must be what the model says."""

    counts: ClassVar[dict[str, int]] = dict.fromkeys(
        ("connections", "calls", "cancelled", "records", "bytes"), 0
    )

    def __init__(self) -> None:
        super().__init__()
        self.position = 0
        self.ended = False
        self.corks: list[AbstractContextManager[None]] = []
        self.futures: list[tuple[Future[int], Write | None, int]] = []

    @initialize(
        small=st.booleans(),
        maxlen=st.sampled_from([512, 4000, 16384]),
        sendspace=st.sampled_from([2048, 70_000, 1 << 20]),
        gather_max=st.sampled_from([0, 1000, 32768]),
        flush_unit=st.sampled_from([16384, 262_144]),
        inline_max=st.sampled_from([0, 65536]),
        delay=st.sampled_from([0, 0, 500]),
        pad_to=st.sampled_from([0, 0, 100, 4096]),
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
        pad_to: int,
    ) -> None:
        for name, value in (
            ("maxlen", maxlen),
            ("sendspace", sendspace),
            ("gather_max", gather_max),
            ("flush_unit", flush_unit),
            ("inline_max", inline_max),
            ("debug.seal_delay_us", delay),
            ("pad_to", pad_to),
        ):
            ktls.sysctl["kern.ipc.tls." + name] = value
        self.maxlen = maxlen
        self.model = WireModel(sendspace, pad_to, limit=maxlen)
        near, self.peer = connected(small=small)
        self.sock = ktls.Socket(near)
        self.sock.settimeout(TIMEOUT)
        self.collector = Collector(self.peer)
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed in teardown
        self.file.write(os.urandom(FILE_LEN))
        self.file.flush()
        self.counts["connections"] += 1

    # -- what is done ------------------------------------------------------------------------------

    @precondition(lambda self: not self.model.keyed and not self.ended)
    @rule(suite=st.sampled_from(SUITES))
    def enable(self, suite: Suite) -> None:
        secrets = Secrets(suite)
        self.sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        self.model.new_keys(secrets, self._waiting())

    @precondition(lambda self: self.model.keyed and not self.ended)
    @rule(suite=st.sampled_from(SUITES))
    def enable_again(self, suite: Suite) -> None:
        with self._fails(errno.EALREADY):
            self.sock.setsockopt(
                ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(suite))
            )

    @precondition(lambda self: self.model.keyed and not self.ended)
    @rule()
    def rekey(self) -> None:
        secrets = Secrets(self.model.generations[0].suite)
        if secrets.suite.tls_vminor != 4:
            with self._fails(errno.EBUSY):
                self.sock.rekey(parameters(secrets))
            return
        self.sock.rekey(parameters(secrets))
        self.model.new_keys(secrets, self._waiting())

    @precondition(lambda self: not self.ended)
    @rule(limit=LIMITS)
    def limit_payload(self, limit: int) -> None:
        if not self.model.keyed:
            with self._fails(errno.EINVAL):
                self.sock.setsockopt(*PAYLOAD_LEN, limit)
            return
        least = 63 if self.model.generations[0].suite.tls_vminor == 4 else 64
        if not least <= limit <= self.maxlen:
            with self._fails(errno.EINVAL):
                self.sock.setsockopt(*PAYLOAD_LEN, limit)
        else:
            self._set_limit(limit)
        assert self.sock.getsockopt(*PAYLOAD_LEN) == self.model.limit

    def _set_limit(self, limit: int) -> None:
        if self.model.open is Known.YES:
            with self._fails(errno.EBUSY):
                self.sock.setsockopt(*PAYLOAD_LEN, limit)
            return
        try:
            self.sock.setsockopt(*PAYLOAD_LEN, limit)
        except OSError as error:
            if error.errno != errno.EBUSY or self.model.open is Known.NO:
                raise
        else:
            self.model.new_limit(limit, self._waiting())

    # -- writes ------------------------------------------------------------------------------------

    @rule(length=LENS, kind=KINDS, more=st.booleans())
    def send(self, length: int, kind: Callable[[bytes], bytes], more: bool) -> None:
        data = self._data(length)
        buffer = kind(bytearray(data)) if kind is memoryview else kind(data)
        count = self._try(lambda: self.sock.send(buffer, socket.MSG_MORE if more else 0))
        if kind is bytearray:
            buffer[:] = bytes(length)
        self._accept(data, count, more=more)

    @rule(length=LENS, more=st.booleans())
    def sendall(self, length: int, more: bool) -> None:
        data = self._data(length)
        if self.sock.gettimeout() == 0:
            # What a failing call has accepted cannot be known.
            return
        flags = socket.MSG_MORE if more else 0
        count = self._try(lambda: self.sock.sendall(data, flags) or length)
        self._accept(data, count, more=more)

    @rule(length=LENS, flags=st.sampled_from([socket.MSG_DONTWAIT, socket.MSG_NOSIGNAL]))
    def send_with_flags(self, length: int, flags: int) -> None:
        data = self._data(length)
        self._accept(data, self._try(lambda: self.sock.send(data, flags)))

    @rule(lengths=st.lists(LENS, max_size=5), more=st.booleans())
    def sendmsg(self, lengths: list[int], more: bool) -> None:
        data = self._data(sum(lengths))
        stream = io.BytesIO(data)
        parts = [stream.read(length) for length in lengths]
        flags = socket.MSG_MORE if more else 0
        self._accept(data, self._try(lambda: self.sock.sendmsg(parts, [], flags)), more=more)

    @rule(length=LENS, content_type=CONTENT_TYPES)
    def sendmsg_typed(self, length: int, content_type: int) -> None:
        data = self._data(length)
        control = (ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([content_type]))
        allowed = bool(data) and self.model.keyed
        count = self._try(lambda: self.sock.sendmsg([data], [control]), refuses=True)
        assert count in (0, length), "a message with a type was torn"
        assert allowed or not count
        if count:
            assert not self.ended, "accepted after shutdown"
            self.model.typed(data, content_type)
        elif allowed:
            self.model.refused()

    @rule(length=LENS, content_type=CONTENT_TYPES)
    def sendmsg_typed_with_more(self, length: int, content_type: int) -> None:
        control = (ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([content_type]))
        with self._fails(errno.EINVAL):
            self.sock.sendmsg([self._data(length)], [control], socket.MSG_MORE)

    @rule(offset=st.integers(0, FILE_LEN + 10), count=st.one_of(st.none(), LENS.filter(bool)))
    def sendfile(self, offset: int, count: int | None) -> None:
        sent = self._try(lambda: self.sock.sendfile(self.file, offset, count))
        end = FILE_LEN if count is None else min(FILE_LEN, offset + count)
        assert sent <= max(0, end - offset)
        self._accept_file(os.pread(self.file.fileno(), sent, offset), max(0, end - offset))

    @rule(length=LENS, offset=st.integers(0, 1000))
    def sendfile_from_memory(self, length: int, offset: int) -> None:
        data = self._data(length)
        sent = self._try(lambda: self.sock.sendfile(io.BytesIO(data), offset))
        self._accept_file(data[offset : offset + sent], length, read=True)

    @rule(lengths=st.lists(LENS, min_size=1, max_size=8), kind=KINDS)
    def aio_write(self, lengths: list[int], kind: Callable[[bytes], bytes]) -> None:
        """Several in a row: nobody reads meanwhile, so that some wait."""
        for length in lengths:
            data = self._data(length)
            buffer = kind(bytearray(data)) if kind is memoryview else kind(data)
            self.counts["calls"] += 1
            if self.ended:
                with self._fails(errno.EPIPE):
                    self.sock.aio_write(buffer)
                continue
            future = self.sock.aio_write(buffer)
            if kind is bytearray:
                buffer[:] = bytes(length)
            self.futures.append((future, self.model.queued(data), length))

    @precondition(lambda self: self.futures)
    @rule(choices=st.lists(st.integers(0, 7), min_size=1, max_size=5))
    def cancel(self, choices: list[int]) -> None:
        """Some of the last ones."""
        for choice in choices:
            self._cancel(*self.futures[-1 - choice % len(self.futures)])

    def _cancel(self, future: "Future[int]", write: Write | None, _: int) -> None:
        # What was cancelled stays in the list: what comes next must not hang on who was faster.
        again = future.cancelled()
        assert future.cancel() == future.cancelled()
        if future.cancelled() and not again:
            self.counts["cancelled"] += 1
            if write is not None:
                assert write.torn, "what was framed was cancelled"
                self.model.cancelled(write)

    @precondition(lambda self: len(self.corks) < 3)
    @rule()
    def cork(self) -> None:
        if self.ended:
            return
        cork = self.sock.cork()
        cork.__enter__()
        self.corks.append(cork)
        self.model.cork(self._waiting())

    @precondition(lambda self: self.corks)
    @rule()
    def uncork(self) -> None:
        self.corks.pop().__exit__(None, None, None)
        self.model.uncork()

    # -- waits, and the end ------------------------------------------------------------------------

    @rule(timeout=st.sampled_from([0.0, TIMEOUT, None]))
    def set_timeout(self, timeout: float | None) -> None:
        self.sock.settimeout(timeout)

    @rule()
    def flush(self) -> None:
        with self._reader(waits=True):
            self.sock.flush(TIMEOUT)
        assert self.sock.pending == 0
        self.model.flushed()
        self._check_futures()
        self.futures.clear()

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
            records = 1 + self.model.size // 63 + len(self.model.writes) * 2
            overhead = (64 + self.model.pad_to) * records
            assert len(self.collector.wire) <= self.model.size + overhead

    @invariant()
    def an_open_record_is_pending(self) -> None:
        if hasattr(self, "collector") and self.model.keyed and not self.ended:
            least = self.model.open_len if self.model.open is Known.YES else 0
            assert self.sock.pending >= least

    def teardown(self) -> None:
        if not hasattr(self, "sock"):
            return
        try:
            # No flush: what was accepted must drain by itself.
            self.sock.close()
            wire = self.collector.rest(TIMEOUT)
            for cork in self.corks:
                cork.__exit__(None, None, None)
            self.counts["records"] += self.model.check(wire)
            self.counts["bytes"] += self.model.size
            self._check_futures()
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

    def _accept(self, data: bytes, count: int, *, more: bool = False) -> None:
        assert not (self.ended and count), "accepted after shutdown"
        self.model.accepted(data[:count], len(data), more=more)

    def _accept_file(self, data: bytes, wanted: int, *, read: bool = False) -> None:
        assert not (self.ended and data), "accepted after shutdown"
        self.model.file(data, wanted, read=read)

    def _check_futures(self) -> None:
        for future, _, length in self.futures:
            assert future.cancelled() or future.result(TIMEOUT) == length

    def _waiting(self) -> list[Write]:
        """The writes that may not be framed yet."""
        return [
            write
            for future, write, _ in self.futures
            if write is not None and write.torn and not future.done()
        ]

    @contextmanager
    def _fails(self, code: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno != code:
                raise
        else:
            raise AssertionError(f"not {errno.errorcode[code]}")

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
