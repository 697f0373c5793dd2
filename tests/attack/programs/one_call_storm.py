"""One call after the other is interrupted by handlers that raise, on one connection.

Usage: one_call_storm.py KIND SIGNALS: so many for each call.  Every write is of one letter, so that
what arrives is read off: letters come in the order of the calls, each no longer than was given.
"""

import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import groupby
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
                # 1 to 250, so that neighbours differ.
                count = write(bytes([number % 250 + 1]) * LENGTH)
                finished = True
                while True:
                    time.sleep(0.001)
            except InterruptedByTest:
                if finished and (not isinstance(count, int) or count == LENGTH):
                    whole.add(number)
                interrupted += 1
    last = ends.own.aio_write(b"\0" * 1000)
    assert last.result(20) == 1000
    until(lambda: ktls.sysctl["kern.ipc.tls.stats.aio_pending"] == 0)
    ends.own.close()
    received = reading.result()
    assert received.endswith(b"\0" * 1000)
    check(received[:-1000], number, whole)
    assert interrupted == number
    print(f"{interrupted} interrupts, {len(whole)} writes went well", flush=True)
    print("all of it went on")


def check(received: bytes, count: int, whole: set[int]) -> None:
    """Runs of letters are those of the writes, in order; the whole ones are whole."""
    runs = [(letter, sum(1 for _ in run)) for letter, run in groupby(received)]
    position = 0
    for number in range(1, count + 1):
        here = position < len(runs) and runs[position][0] == number % 250 + 1
        length = runs[position][1] if here else 0
        position += here
        assert length <= LENGTH, f"write {number}: {length} bytes of {LENGTH}"
        assert length == LENGTH or number not in whole, f"write {number}: {length} bytes arrived"
    assert position == len(runs), "bytes that nobody wrote there"


main(sys.argv[1], int(sys.argv[2]))
