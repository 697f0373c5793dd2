"""Signal handlers that call the library in the middle of a call of their own thread.

Usage: handler_inside.py KIND WHAT.  What a handler was told is accepted arrives, in order; a call
that it interrupts by raising can be made again.
"""

import random
import signal
import sys
import threading
import time
from collections.abc import Callable

import ktls
from keyed_link import connected
from support.ends import Call, connect, wrap

ROUNDS = 400


class InterruptedByTest(Exception):
    pass


def raise_it(*_: object) -> None:
    raise InterruptedByTest


def alarm(longest: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, longest))


def send_inside_recv(kind: str) -> None:
    """A handler sends while its thread receives: each byte arrives, in order."""
    with connect(kind) as ends:
        said = 0
        inside = False
        stop = threading.Event()

        def feed() -> None:
            while not stop.is_set():
                ends.say(b"x" * 16_000)
            ends.say(b"!")

        def handler(*_: object) -> None:
            nonlocal said, inside
            # On a busy machine the next signal comes inside this handler, before it has counted.
            if said < ROUNDS and not inside:
                inside = True
                said += ends.own.send(bytes([said % 256]))
                inside = False

        feeding = Call(feed)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0005)
        while said < ROUNDS:
            ends.own.recv(65536)
        signal.setitimer(signal.ITIMER_REAL, 0)
        expected = bytes(number % 256 for number in range(said))
        assert ends.receive_exactly(said) == expected
        stop.set()
        while not ends.own.recv(65536).endswith(b"!"):
            pass
        feeding.result()


def long_send_inside_sendall(kind: str) -> None:
    """Three records of a handler stay in order, between records of what it interrupted."""
    with connect(kind) as ends:
        reading = Call(ends.receive_all)
        pieces = 0
        inside = False

        def handler(*_: object) -> None:
            nonlocal pieces, inside
            if pieces < 50 and not inside:
                inside = True
                pieces += 1
                ends.own.sendall(b"A" * 16384 + b"B" * 16384 + b"C" * 16384)
                inside = False

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        while pieces < 50:
            ends.own.sendall(b"-" * 200_000)
        signal.setitimer(signal.ITIMER_REAL, 0)
        ends.own.close()
        letters = reading.result().replace(b"-", b"")
        assert letters == (b"A" * 16384 + b"B" * 16384 + b"C" * 16384) * pieces


def recv_inside_recv(kind: str) -> None:
    """A handler receives while its thread does: nothing is refused, nothing lost."""
    with connect(kind) as ends:
        total = 20_000_000
        feeding = Call(lambda: ends.say(bytes(total)))
        got = 0

        def handler(*_: object) -> None:
            nonlocal got
            if got < total // 2:
                # Not in one statement: a handler inside this one would be forgotten.
                part = len(ends.own.recv(1000))
                got += part

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        while got < total // 2:
            part = len(ends.own.recv(65536))
            got += part
        signal.setitimer(signal.ITIMER_REAL, 0)
        while got < total:
            got += len(ends.own.recv(65536))
        feeding.result()


def cork_that_is_interrupted(kind: str) -> None:
    """It is pulled: what is written afterwards leaves."""
    with connect(kind) as ends:
        signal.signal(signal.SIGALRM, raise_it)
        for _ in range(ROUNDS):
            try:
                alarm(6e-5)
                while True:
                    with ends.own.cork():
                        pass
            except InterruptedByTest:
                pass
            ends.own.sendall(b"m")
            assert ends.receive_exactly(1) == b"m"


def unwrap_that_is_interrupted(kind: str) -> None:
    """It is made again, and gives the plain connection."""
    signal.signal(signal.SIGALRM, raise_it)
    for _ in range(60):
        ends = connect(kind)
        far = Call(ends.peer.unwrap)
        deadline = time.monotonic() + 20
        plain = None
        while plain is None:
            assert time.monotonic() < deadline
            try:
                alarm(5e-4)
                plain = ends.own.unwrap()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except InterruptedByTest:
                pass
        other = far.result()
        plain.sendall(b"plain")
        assert other.recv(5) == b"plain"
        plain.close()
        other.close()


def first_aio_write_inside_aio_write(kind: str) -> None:
    """The thread that ends futures is started by both, and by none for ever."""
    with connect(kind) as ends:
        futures = []
        signal.signal(
            signal.SIGALRM, lambda *_: futures.append(ends.own.aio_write(b"from the handler"))
        )
        alarm(4e-4)
        futures.append(ends.own.aio_write(b"from the program"))
        while len(futures) < 2:
            time.sleep(0.001)
        assert [future.result(20) for future in futures] == [16, 16]
        assert len(ends.receive_exactly(32)) == 32


def wrap_inside_wrap(kind: str) -> None:
    """A handler wraps a socket while its thread does."""
    made = 0

    def take() -> None:
        near, far = connected()
        wrap(kind, near, False, do_handshake_on_connect=False).close()
        far.close()

    def handler(*_: object) -> None:
        nonlocal made
        take()
        made += 1

    signal.signal(signal.SIGALRM, handler)
    deadline = time.monotonic() + 30
    while made < 100:
        assert time.monotonic() < deadline
        alarm(2e-3)
        take()
    signal.setitimer(signal.ITIMER_REAL, 0)


WORKS: dict[str, Callable[[str], None]] = {
    work.__name__: work
    for work in (
        send_inside_recv,
        long_send_inside_sendall,
        recv_inside_recv,
        cork_that_is_interrupted,
        unwrap_that_is_interrupted,
        first_aio_write_inside_aio_write,
        wrap_inside_wrap,
    )
}

if __name__ == "__main__":
    if sys.argv[1] == "SW":
        ktls.enable()
    WORKS[sys.argv[2]](sys.argv[1])
    print("well", flush=True)
