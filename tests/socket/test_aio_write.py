"""``Socket.aio_write``: what it takes, and when its futures end.

The order of writes is in ``test_aio_order``, the end of the connection and callbacks in
``test_aio_end``, cancellation in ``test_aio_cancel``, keys in ``test_aio_keys``, threads, forks and
the end of the interpreter in ``test_aio_processes``.
"""

import array
import asyncio
import concurrent.futures
import gc
import os
import random
import select
import sys
from collections.abc import Callable
from concurrent.futures import Future

import pytest

import ktls
from full_link import PENDING, WRITES, Reading, keep, until
from keyed_link import Link
from record_reader import ALL_SUITES, CBC_SUITES, SUITES, Suite, read_records

MakeLink = Callable[..., Link]
every_kind = pytest.mark.parametrize("suite", [SUITES[0], SUITES[3], CBC_SUITES[0]], ids=str)


@pytest.fixture
def tight(make_link: MakeLink) -> Link:
    """A connection that holds little."""
    keep(65536)
    return make_link(small=True)


# -- what it takes and gives -----------------------------------------------------------------------


@pytest.mark.parametrize("suite", ALL_SUITES, ids=str)
def test_aio_write_is_one_record_and_its_future_has_the_length(
    make_link: MakeLink, suite: Suite
) -> None:
    link = make_link(suite)
    future = link.sock.aio_write(b"data")
    assert isinstance(future, Future)
    assert future.result(20) == 4
    assert future.done()
    assert not future.cancel()
    assert future.exception() is None
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"data")]


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, 100_000, 3_000_000])
@pytest.mark.parametrize("kind", [bytes, bytearray, lambda data: memoryview(bytearray(data))])
def test_records_of_an_aio_write(link: Link, size: int, kind: Callable[[bytes], bytes]) -> None:
    """Cut as those of `send`."""
    data = random.randbytes(size)
    future = link.sock.aio_write(kind(data))
    reading = Reading(link)
    assert future.result(20) == size
    expected = [(23, data[at : at + 16384]) for at in range(0, size, 16384)]
    if size <= 100_000:
        assert reading.finished() == expected
    assert reading.data() == data


def test_aio_write_takes_any_contiguous_buffer(link: Link) -> None:
    numbers = array.array("I", range(1000))
    matrix = memoryview(bytes(range(240))).cast("B", (12, 20))
    assert link.sock.aio_write(numbers).result(20) == 4000
    assert link.sock.aio_write(matrix).result(20) == 240
    link.sock.close()
    records = read_records(link.peer, link.reader)
    assert records == [(23, numbers.tobytes()), (23, bytes(range(240)))]


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2]])
def test_aio_write_refuses_what_is_no_buffer(link: Link, data: object) -> None:
    before = ktls.sysctl[PENDING]
    with pytest.raises(TypeError):
        link.sock.aio_write(data)
    assert ktls.sysctl[PENDING] == before


def test_aio_write_refuses_buffers_with_gaps(link: Link) -> None:
    with pytest.raises((BufferError, ValueError), match=r"(?i)contiguous"):
        link.sock.aio_write(memoryview(bytes(100))[::2])


@pytest.mark.parametrize("size", [100, 50_000, 400_000])
@pytest.mark.parametrize("kind", [bytearray, lambda data: memoryview(bytearray(data))])
def test_aio_write_copies_a_buffer(
    tight: Link, size: int, kind: Callable[[bytes], bytearray]
) -> None:
    """It was copied, also what waits for room."""
    futures, sent = [], b""
    for turn in range(5):
        data = bytes([turn + 1]) * size
        buffer = kind(data)
        futures.append(tight.sock.aio_write(buffer))
        buffer[:] = bytes(size)
        sent += data
    reading = Reading(tight)
    assert [future.result(20) for future in futures] == [size] * 5
    assert reading.data() == sent


def test_aio_write_lets_bytes_go_at_its_end(tight: Link) -> None:
    """They are referenced, not copied."""
    data = os.urandom(1_000_000)
    before = sys.getrefcount(data)
    future = tight.sock.aio_write(data)
    assert sys.getrefcount(data) > before
    reading = Reading(tight)
    assert future.result(20) == len(data)
    del future
    until(lambda: bool(gc.collect() >= 0) and sys.getrefcount(data) == before)
    assert reading.data() == data


def test_aio_write_of_nothing_sends_nothing(link: Link) -> None:
    assert link.sock.aio_write(b"").result(20) == 0
    assert link.sock.aio_write(bytearray()).result(20) == 0
    link.sock.send(b"x")
    link.sock.close()
    assert read_records(link.peer, link.reader) == [(23, b"x")]


def test_aio_write_of_nothing_ends_after_what_was_before(tight: Link) -> None:
    first = tight.sock.aio_write(bytes(1_000_000))
    nothing = tight.sock.aio_write(b"")
    ended: list[int] = []
    first.add_done_callback(lambda future: ended.append(future.result()))
    nothing.add_done_callback(lambda future: ended.append(future.result()))
    assert not nothing.done()
    reading = Reading(tight)
    assert nothing.result(20) == 0
    until(lambda: len(ended) == 2)
    assert ended == [1_000_000, 0]
    assert reading.data() == bytes(1_000_000)


# -- when it ends ----------------------------------------------------------------------------------


def test_aio_write_ends_when_tcp_has_taken_it(tight: Link) -> None:
    future = tight.sock.aio_write(bytes(1_000_000))
    with pytest.raises(TimeoutError):
        tight.sock.flush(0.2)
    assert not future.done()
    with pytest.raises(TimeoutError):
        future.result(0)
    reading = Reading(tight)
    tight.sock.flush(20)
    assert future.result(20) == 1_000_000
    assert reading.data() == bytes(1_000_000)


@every_kind
@pytest.mark.parametrize("timeout", [None, 0.0, 5.0])
def test_hundreds_of_aio_writes_in_flight(
    make_link: MakeLink, suite: Suite, timeout: float | None
) -> None:
    """None of the calls waits, whatever the socket's time-out; all end, in order."""
    keep(65536)
    link = make_link(suite, small=True)
    link.sock.settimeout(timeout)
    pending, writes = ktls.sysctl[PENDING], ktls.sysctl[WRITES]
    data = [random.randbytes(random.choice([1, 100, 5000, 16384, 20_000])) for _ in range(400)]
    ended: list[int] = []
    futures = []
    for index, piece in enumerate(data):
        future = link.sock.aio_write(piece)
        future.add_done_callback(lambda _, index=index: ended.append(index))
        futures.append(future)
    assert ktls.sysctl[WRITES] - writes == 400
    assert 200 < ktls.sysctl[PENDING] - pending <= 400
    assert not futures[-1].done()
    reading = Reading(link)
    assert [future.result(30) for future in futures] == [len(piece) for piece in data]
    until(lambda: len(ended) == 400)
    assert sorted(ended) == list(range(400))
    # The first few may end in the call.
    assert ended[-200:] == list(range(200, 400))
    until(lambda: ktls.sysctl[PENDING] == pending)
    assert reading.data() == b"".join(data)


@pytest.mark.parametrize("seal_delay", [0, 2000])
@pytest.mark.parametrize("gather_max", [0, 32768])
def test_each_aio_write_is_a_write_of_its_own(
    make_link: MakeLink, seal_delay: int, gather_max: int
) -> None:
    ktls.sysctl["kern.ipc.tls.debug.seal_delay_us"] = seal_delay
    ktls.sysctl["kern.ipc.tls.gather_max"] = gather_max
    link = make_link()
    futures = [link.sock.aio_write(b"%d" % number) for number in range(300)]
    reading = Reading(link)
    assert [future.result(20) for future in futures] == [len(b"%d" % n) for n in range(300)]
    assert reading.finished() == [(23, b"%d" % number) for number in range(300)]


def test_aio_writes_on_many_connections(make_link: MakeLink) -> None:
    keep(65536)
    links = [make_link(SUITES[number % 6], small=number % 2 == 0) for number in range(8)]
    data = random.randbytes(300_000)
    futures = [link.sock.aio_write(data) for _ in range(3) for link in links]
    readings = [Reading(link) for link in links]
    done, not_done = concurrent.futures.wait(futures, 30)
    assert not not_done
    assert {future.result() for future in done} == {len(data)}
    for reading in readings:
        assert reading.data() == data * 3


def test_a_future_that_nobody_keeps(tight: Link) -> None:
    for turn in range(20):
        tight.sock.aio_write(bytes([turn]) * 10_000)
    gc.collect()
    expected = b"".join(bytes([turn]) * 10_000 for turn in range(20))
    assert Reading(tight).data() == expected


def test_flush_waits_for_an_aio_write(tight: Link) -> None:
    futures = [tight.sock.aio_write(bytes(50_000)) for _ in range(20)]
    with pytest.raises(TimeoutError):
        tight.sock.flush(0.1)
    reading = Reading(tight)
    tight.sock.flush(20)
    assert tight.sock.pending == 0
    assert [future.result(20) for future in futures] == [50_000] * 20
    assert reading.data() == bytes(1_000_000)


def test_the_descriptor_is_writable_again(tight: Link) -> None:
    tight.sock.setblocking(False)
    assert select.select([], [tight.sock], [], 0)[1]
    futures = [tight.sock.aio_write(bytes(50_000)) for _ in range(20)]
    with pytest.raises(BlockingIOError):
        tight.sock.send(b"x")
    assert not select.select([], [tight.sock], [], 0)[1]
    reading = Reading(tight)
    assert [future.result(20) for future in futures] == [50_000] * 20
    assert select.select([], [tight.sock], [], 20)[1]
    assert tight.sock.send(b"x") == 1
    assert reading.data() == bytes(1_000_000) + b"x"


def test_aio_write_in_an_event_loop(make_link: MakeLink) -> None:
    keep(65536)
    link = make_link(small=True)
    link.sock.setblocking(False)
    data = [random.randbytes(20_000) for _ in range(100)]

    async def write() -> list[int]:
        futures = [asyncio.wrap_future(link.sock.aio_write(piece)) for piece in data]
        return await asyncio.wait_for(asyncio.gather(*futures), 30)

    reading = Reading(link)
    assert asyncio.run(write()) == [20_000] * 100
    assert reading.data() == b"".join(data)
