"""Taking an asynchronous write back: what was cancelled is absent, what was not is there whole."""

import asyncio
import concurrent.futures
import errno
import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

import pytest

import ktls
from full_link import PENDING, Reading, keep, until
from keyed_link import Link, reset
from record_reader import CBC_SUITES, SUITES, Suite, read_records

MakeLink = Callable[..., Link]
every_kind = pytest.mark.parametrize("suite", [SUITES[0], SUITES[3], CBC_SUITES[0]], ids=str)


@pytest.fixture
def tight(make_link: MakeLink) -> Link:
    """A connection that holds little."""
    keep(65536)
    return make_link(small=True)


def pieces(count: int, size: int) -> list[bytes]:
    """Data that says which it is."""
    return [number.to_bytes(2, "big") * (size // 2) for number in range(count)]


def test_aio_write_that_waits_is_taken_back(tight: Link) -> None:
    pending = ktls.sysctl[PENDING]
    data = pieces(100, 10_000)
    futures = [tight.sock.aio_write(piece) for piece in data]
    told: list[Future[int]] = []
    futures[-1].add_done_callback(told.append)
    for _ in range(2):
        assert futures[-1].cancel()
        assert futures[50].cancel()
    assert futures[50].cancelled()
    assert futures[50].done()
    with pytest.raises(CancelledError):
        futures[50].result(20)
    with pytest.raises(CancelledError):
        futures[50].exception(20)
    assert told == [futures[-1]]
    until(lambda: ktls.sysctl[PENDING] - pending <= 98)
    reading = Reading(tight)
    kept = [(future, piece) for future, piece in zip(futures, data, strict=True)]
    kept = [pair for index, pair in enumerate(kept) if index not in (50, 99)]
    assert [future.result(20) for future, _ in kept] == [10_000] * 98
    assert reading.data() == b"".join(piece for _, piece in kept)
    until(lambda: ktls.sysctl[PENDING] == pending)


def test_aio_write_that_is_framed_is_not_taken_back(tight: Link) -> None:
    """Also when a part of it is."""
    fits = tight.sock.aio_write(bytes(1000))
    parts = tight.sock.aio_write(bytes(1_000_000))
    waits = tight.sock.aio_write(bytes(1000))
    assert not fits.cancel()
    assert not parts.cancel()
    assert waits.cancel()
    assert not fits.cancelled()
    assert not parts.cancelled()
    reading = Reading(tight)
    assert [fits.result(20), parts.result(20)] == [1000, 1_000_000]
    assert not parts.cancel()
    assert reading.data() == bytes(1_001_000)


def test_cancel_after_the_end_of_a_write_does_nothing(link: Link) -> None:
    future = link.sock.aio_write(b"x")
    assert future.result(20) == 1
    assert not future.cancel()
    assert future.result() == 1


def test_cancel_is_seen_by_who_waits_for_several(tight: Link) -> None:
    """`wait` and `as_completed` count what was cancelled as done."""
    futures = [tight.sock.aio_write(bytes(50_000)) for _ in range(10)]
    assert futures[9].cancel()
    done, _ = concurrent.futures.wait([futures[9]], 20)
    assert done == {futures[9]}
    assert next(concurrent.futures.as_completed(futures[8:], 20)) is futures[9]
    assert futures[8].cancel()
    reading = Reading(tight)
    assert [future.result(20) for future in futures[:8]] == [50_000] * 8
    assert reading.data() == bytes(400_000)


def test_cancel_wakes_who_waits_for_the_future(tight: Link) -> None:
    futures = [tight.sock.aio_write(bytes(50_000)) for _ in range(10)]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(futures[9].result, 20)
        assert futures[9].cancel()
        with pytest.raises(CancelledError):
            waiting.result(20)
    reset(tight.peer)


def test_cancel_gives_room_to_those_behind(tight: Link) -> None:
    """A later blocking call goes on, too, when nothing is left before it."""
    first = tight.sock.aio_write(bytes(60_000))
    waiting = [tight.sock.aio_write(bytes(50_000)) for _ in range(10)]
    cancelled = [future.cancel() for future in waiting]
    assert cancelled[1:] == [True] * 9
    sent = 60_000 + 50_000 * cancelled.count(False)
    reading = Reading(tight)
    tight.sock.settimeout(20)
    tight.sock.sendall(b"the end")
    assert first.result(20) == 60_000
    assert reading.data() == bytes(sent) + b"the end"


def test_cancel_lets_a_blocked_call_go_on(make_link: MakeLink) -> None:
    """What it waited for is taken back, and nobody reads."""
    keep(65536)
    link = make_link()
    link.sock.settimeout(20)
    with link.sock.cork():
        futures = [link.sock.aio_write(bytes(3_000_000)) for _ in range(3)]
        assert not futures[0].cancel()
        assert futures[2].cancel()
    reading = Reading(link)
    link.sock.sendall(b"the end")
    assert futures[0].result(20) == 3_000_000
    assert reading.data() == bytes(6_000_000) + b"the end"


def test_cancel_all_aio_writes_then_close(tight: Link) -> None:
    futures = [tight.sock.aio_write(piece) for piece in pieces(100, 10_000)]
    kept = [number for number, future in enumerate(futures) if not future.cancel()]
    assert 1 <= len(kept) < 50
    data = Reading(tight).data()
    expected = pieces(100, 10_000)
    assert data == b"".join(expected[number] for number in kept)


def test_aio_write_may_be_taken_back_after_close(tight: Link) -> None:
    """What was accepted before is sent; it may still be taken back."""
    futures = [tight.sock.aio_write(bytes(10_000)) for _ in range(50)]
    tight.sock.close()
    assert futures[49].cancel()
    records = read_records(tight.peer, tight.reader)
    assert sum(len(payload) for _, payload in records) == 490_000
    assert [future.result(20) for future in futures[:49]] == [10_000] * 49


def test_cancel_after_a_reset(tight: Link) -> None:
    """Each has ended, with an error or by its cancellation."""
    futures = [tight.sock.aio_write(bytes(10_000)) for _ in range(50)]
    assert futures[49].cancel()
    reset(tight.peer)
    _, not_done = concurrent.futures.wait(futures, 20)
    assert not not_done
    assert not futures[48].cancel()
    error = futures[48].exception()
    assert isinstance(error, OSError)
    assert error.errno in (errno.ECONNRESET, errno.EPIPE)
    assert futures[49].cancelled()


def test_cancel_by_an_event_loop(make_link: MakeLink) -> None:
    keep(65536)
    link = make_link(small=True)
    data = pieces(50, 10_000)
    reading: list[Reading] = []

    async def write() -> list[object]:
        futures = [asyncio.wrap_future(link.sock.aio_write(piece)) for piece in data]
        assert futures[40].cancel()
        await asyncio.sleep(0)
        reading.append(Reading(link))
        return await asyncio.gather(*futures, return_exceptions=True)

    results = asyncio.run(write())
    assert isinstance(results[40], asyncio.CancelledError)
    del results[40], data[40]
    assert results == [10_000] * 49
    assert reading[0].data() == b"".join(data)


@every_kind
@pytest.mark.parametrize("turn", range(3))
def test_cancel_races_with_writer_and_reader(make_link: MakeLink, suite: Suite, turn: int) -> None:
    """Several threads take back what another one writes and a peer reads."""
    keep(40_000)
    ktls.sysctl["kern.ipc.tls.debug.seal_delay_us"] = 100 * turn
    link = make_link(suite, small=True)
    count, size = 1000, 2000
    data = pieces(count, size)
    futures: list[Future[int]] = []
    outcome: list[set[bool]] = [set() for _ in range(count)]
    end = threading.Event()

    def cancel(seed: int) -> None:
        chooser = random.Random(seed)
        while not end.is_set():
            known = len(futures)
            if known:
                index = chooser.randrange(max(0, known - 60), known)
                outcome[index].add(futures[index].cancel())

    threads = [threading.Thread(target=cancel, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    futures.extend(map(link.sock.aio_write, data[: count // 2]))
    # Some were taken back, for nobody read; from here on it is a race.
    until(lambda: any(future.cancelled() for future in futures))
    reading = Reading(link)
    futures.extend(map(link.sock.aio_write, data[count // 2 :]))
    concurrent.futures.wait(futures, 30)
    end.set()
    for thread in threads:
        thread.join()
    assert all(future.done() for future in futures)
    kept = [index for index, future in enumerate(futures) if not future.cancelled()]
    assert [futures[index].result() for index in kept] == [size] * len(kept)
    assert 0 < len(kept) < count
    stream = reading.data()
    assert [stream[at : at + size] for at in range(0, len(stream), size)] == [
        data[index] for index in kept
    ]
    for future, answers in zip(futures, outcome, strict=True):
        # Every thread gets the same answer, if it was taken back or never was.
        assert answers <= {future.cancelled()}


@pytest.mark.parametrize("choice", ["empty", "split"])
def test_cancel_takes_back_what_precedes_a_write_in_tls_10(
    make_link: MakeLink, choice: str
) -> None:
    ktls.sysctl["kern.ipc.tls.tls10_fragment"] = choice
    keep(65536)
    link = make_link(CBC_SUITES[0], small=True)
    data = [os.urandom(3000) for _ in range(100)]
    futures = [link.sock.aio_write(piece) for piece in data]
    gone = [index for index in range(60, 100, 3) if futures[index].cancel()]
    assert len(gone) >= 10
    reading = Reading(link)
    kept = [index for index in range(100) if index not in gone]
    assert [futures[index].result(20) for index in kept] == [3000] * len(kept)
    records = reading.finished()
    assert b"".join(payload for _, payload in records) == b"".join(data[index] for index in kept)
    first = {"empty": 0, "split": 1}[choice]
    assert sum(len(payload) == first for _, payload in records) == len(kept)
