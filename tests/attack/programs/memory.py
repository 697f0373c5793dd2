"""What connections hold in memory and in descriptors; the difference is printed as JSON.

Usage: memory.py one-byte KIND CALL | small KIND SIZE | short|stuck|aborted KIND COUNT.
"""

import contextlib
import ctypes
import gc
import json
import os
import ssl
import sys
import time
from collections.abc import Callable

import ktls
from full_link import until
from keyed_link import ALERT
from support.ends import Ends, connect

ACTIVE = "kern.ipc.tls.stats.active"
LIMIT = 5_000_000
"""Writes to a peer that does not read must end some time."""
REFUSED = (BlockingIOError, ssl.SSLWantWriteError)


def resident() -> int:
    """Bytes of memory, without what the allocator could give back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def tell(**numbers: int) -> None:
    print(json.dumps(numbers))


def write_until_refused(ends: Ends, write: Callable[[], object]) -> None:
    own = ends.own
    with connect(ends.kind) as warm:
        warm.own.sendall(bytes(1_000_000)[:50_000])
        warm.receive_exactly(50_000)
    own.setblocking(False)
    before = resident()
    accepted = 0
    with contextlib.suppress(*REFUSED):
        while accepted < LIMIT:
            write()
            accepted += 1
    assert accepted < LIMIT, "there is no limit"
    tell(accepted=accepted, grown=resident() - before)


def one_byte(kind: str, call: str) -> None:
    ends = connect(kind, small=True, space=1 << 20)
    own = ends.own
    if call == "cork":
        with own.cork():
            write_until_refused(ends, lambda: own.send(b"x"))
    else:
        write_until_refused(
            ends,
            {
                "send": lambda: own.send(b"x"),
                "sendall": lambda: own.sendall(b"x"),
                "sendmsg": lambda: own.sendmsg([b"", b"x"]),
                "bytearray": lambda: own.send(bytearray(b"x")),
                "record": lambda: own.sendmsg([b"x"], ALERT),
            }[call],
        )
    ends.own.close()


def small(kind: str, size: str) -> None:
    ends = connect(kind, small=True, space=1 << 20)
    data = bytes(int(size))
    write_until_refused(ends, lambda: ends.own.send(data))


def use(ends: Ends) -> None:
    ends.own.sendall(b"request")
    assert ends.receive_exactly(7) == b"request"
    ends.say(b"answer")
    assert ends.own.recv(6) == b"answer"


def rested() -> None:
    """No connection is left; a worker may let go of its descriptor a moment later."""
    until(lambda: ktls.sysctl[ACTIVE] == 0)
    counts = [descriptors()]
    while counts[-10:] != [counts[-1]] * 10:
        time.sleep(0.02)
        counts.append(descriptors())


def short(kind: str, count: str) -> None:
    def once() -> None:
        with connect(kind) as ends:
            use(ends)

    # Caches of the allocator, of OpenSSL and of our own fill up first.
    for _ in range(300):
        once()
    rested()
    files, before = descriptors(), resident()
    for _ in range(int(count)):
        once()
    rested()
    until(lambda: descriptors() <= files)
    tell(descriptors=descriptors() - files, grown=resident() - before)


def left(kind: str, count: int, end: str) -> None:
    """So many at once, full, and ended while the peer does not read."""
    every = []
    before = resets() if end == "close" else 0
    for _ in range(count):
        ends = connect(kind, small=True)
        ends.fill()
        getattr(ends.own, end)()
        every.append(ends)
    if end == "close":
        until(lambda: resets() >= before + count)
    for ends in every:
        ends.close()


def stuck(kind: str, count: str, end: str) -> None:
    if end == "close":
        ktls.sysctl["kern.ipc.tls.linger_timeout"] = 1
    left(kind, 50, end)
    rested()
    reset, files, before = resets(), descriptors(), resident()
    left(kind, int(count), end)
    rested()
    until(lambda: descriptors() <= files)
    tell(
        descriptors=descriptors() - files,
        grown=resident() - before,
        resets=resets() - reset,
    )


def resets() -> int:
    return int(ktls.sysctl["kern.ipc.tls.stats.linger_resets"])


def main(what: str, kind: str, argument: str) -> None:
    match what:
        case "one-byte":
            one_byte(kind, argument)
        case "small":
            small(kind, argument)
        case "short":
            short(kind, argument)
        case "stuck":
            stuck(kind, argument, "close")
        case "aborted":
            stuck(kind, argument, "abort")


main(*sys.argv[1:])
sys.stdout.flush()
# What is stuck would hold up the end of the interpreter.
os._exit(0)
