"""One call after the other is interrupted by handlers that raise, on one connection.

Usage: one_call_storm.py KIND SIGNALS: so many for each call.  Every write repeats its number, so
that what arrives is read off: numbers come in the order of the calls, each no longer than was
given.
"""

import random
import signal
import sys
import tempfile
import time
from bisect import bisect
from collections.abc import Callable
from typing import Any

import ktls
from full_link import until
from support.ends import Call, Ends, connect

LENGTH = 60_000


class InterruptedByTest(Exception):
    pass


def handler(*_: object) -> None:
    raise InterruptedByTest


def writes(ends: Ends) -> dict[str, Callable[[bytes], Any]]:
    own = ends.own

    def sendfile(data: bytes) -> Any:
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            return own.sendfile(file, 0)

    return {
        "send": own.send,
        "sendall": own.sendall,
        "sendmsg": lambda data: own.sendmsg([data[:100], data[100:]]),
        "aio_write": own.aio_write,
        "sendfile": sendfile,
        "flush": lambda data: (own.sendall(data), own.flush(), own.sendall(b"")),
    }


def main(kind: str, signals: int) -> None:
    ends = connect(kind, small=True)
    reading = Call(ends.receive_all)
    signal.signal(signal.SIGALRM, handler)
    number = interrupted = 0
    whole: set[int] = set()
    for write in writes(ends).values():
        for _ in range(signals):
            number += 1
            finished = False
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 1e-3))
                count = write(content(number))
                finished = True
                while True:
                    time.sleep(0.001)
            except InterruptedByTest:
                if finished and (not isinstance(count, int) or count == LENGTH):
                    whole.add(number)
                interrupted += 1
    last = ends.own.aio_write(content(number + 1))
    assert last.result(20) == LENGTH
    whole.add(number + 1)
    until(lambda: ktls.sysctl["kern.ipc.tls.stats.aio_pending"] == 0)
    ends.own.close()
    received = reading.result()
    check(received, number + 1, whole)
    assert interrupted == number
    print(f"{interrupted} interrupts, {len(whole)} writes went well", flush=True)
    print("all of it went on")


def content(number: int) -> bytes:
    """A digit in each of four bytes, the lowest first, with the place of it: it begins anywhere."""
    return bytes(place << 6 | number >> 6 * place & 63 for place in range(4)) * (LENGTH // 4)


def check(received: bytes, count: int, whole: set[int]) -> None:
    """Runs of numbers are those of the writes, in order; the whole ones are whole."""
    view = memoryview(received)
    for number in range(1, count + 1):
        expected = content(number)
        if number in whole:
            assert view[:LENGTH] == expected, f"write {number} is not whole"
            length = LENGTH
        else:
            lengths = range(min(LENGTH, len(view)) + 1)
            # The longest beginning of it that is there.
            length = bisect(lengths, False, key=lambda n: view[:n] != expected[:n]) - 1
            begun = length - length % 4
            if [byte >> 6 for byte in view[begun : begun + 4]] == [0, 1, 2, 3]:
                # Another number with the same low digits begins there.
                length = begun
        view = view[length:]
    assert not view, "bytes that nobody wrote there"


main(sys.argv[1], int(sys.argv[2]))
