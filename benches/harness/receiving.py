"""The measured end where it receives: a bulk stream, alone or to pass it on."""

import time
from collections.abc import Callable

from harness.contenders import Endpoint
from harness.moment import Moment, hog
from harness.work import Receives, Relays

_LOOK_EVERY = 65536
"""Bytes between two looks at the clock."""


def receives(end: Endpoint, work: Receives) -> dict[str, float]:
    """Receive for the time; the other end is left in the middle of it."""
    with hog(work.hog) as hogging:
        # The first byte is waited for before the clock runs.
        end.recv_into(memoryview(bytearray(1)))
        start = Moment.now(hogging)
        received = _receive(end, work.size, start, work.seconds, None)
        ended = Moment.now(hogging)
    return _sample(start, ended, received)


def relays(source: Endpoint, sink: Endpoint, work: Relays) -> dict[str, float]:
    """Receive for the time and send all of it."""
    start = Moment.now()
    received = _receive(source, work.size, start, work.seconds, sink.sendall)
    sink.finish()
    ended = Moment.now()
    source.close()
    return _sample(start, ended, received)


def _receive(
    end: Endpoint,
    size: int,
    start: Moment,
    seconds: float,
    pass_on: Callable[[memoryview], object] | None,
) -> int:
    buffer = memoryview(bytearray(size))
    recv_into = end.recv_into
    received = look_at = 0
    deadline = start.ns / 1e9 + seconds
    while count := recv_into(buffer):
        if pass_on is not None:
            pass_on(buffer[:count])
        received += count
        if received >= look_at:
            if time.monotonic() >= deadline:
                return received
            look_at = received + _LOOK_EVERY
    raise RuntimeError("the other end left before the time was over")


def _sample(start: Moment, ended: Moment, received: int) -> dict[str, float]:
    return {
        "started_ns": start.ns,
        "finished_ns": ended.ns,
        "bytes": received,
        "cpu_ns": ended.cpu_ns - start.cpu_ns,
    }
