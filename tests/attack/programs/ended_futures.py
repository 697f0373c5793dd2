"""Many closed connections whose ended futures are kept, on a busy interpreter.

Usage: ended_futures.py KIND.
"""

import gc
import os
import sys
import threading

from full_link import until
from support.ends import Call, connect

CONNECTIONS = 40


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def main(kind: str) -> None:
    sys.setswitchinterval(1e-5)
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(50))

    spinning = [Call(spin) for _ in range(3)]
    connect(kind).close()
    gc.collect()
    gc.disable()
    before = descriptors()
    held = []
    for _ in range(CONNECTIONS):
        with connect(kind) as ends:
            reading = Call(ends.receive_exactly, 500_000)
            futures = [ends.own.aio_write(bytes(100_000)) for _ in range(5)]
            assert [future.result(20) for future in futures] == [100_000] * 5
            reading.result()
            held += futures
    until(lambda: descriptors() == before)
    assert len(held) == CONNECTIONS * 5
    stop.set()
    for call in spinning:
        call.result()
    print("all descriptors are back")


main(*sys.argv[1:])
