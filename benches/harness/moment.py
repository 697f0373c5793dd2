"""What a measured process looks at, the clock and its CPU time, and what may hold it up: a hog."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Self


@dataclass(frozen=True, slots=True)
class Moment:
    """The clock, and the CPU time of this process without that of its hog."""

    ns: int
    cpu_ns: int

    @classmethod
    def now(cls, hog: Thread | None = None) -> Self:
        """Both, as they stand."""
        hogged = 0
        if hog is not None and hog.ident is not None:
            hogged = time.clock_gettime_ns(time.pthread_getcpuclockid(hog.ident))
        return cls(time.monotonic_ns(), time.process_time_ns() - hogged)


@contextmanager
def hog(wanted: bool) -> Iterator[Thread | None]:
    """A thread that never waits and never calls anything that would give up the GIL."""
    if not wanted:
        yield None
        return
    stop: list[bool] = []

    def spin() -> None:
        count = 0
        while not stop:
            count += 1

    thread = Thread(target=spin)
    thread.start()
    try:
        yield thread
    finally:
        stop.append(True)
        thread.join()
