"""A signal handler uses the connection whose sendall waits for a peer that does not read yet.

Usage: handler_writes.py KIND ACTION.  KIND may be PLAIN: a socket without TLS, for comparison.
"""

import signal
import socket
import sys
import threading
from typing import Any

from keyed_link import connected
from support.ends import Call, Ends, connect
from support.forks import outcome

DATA = b"x" * 3_000_000
BEAT = b"beat"
WRITES = ("send", "sendall", "aio_write", "sendmsg")


class PlainEnds(Ends):
    """Both ends of a connection without TLS."""

    def __init__(self) -> None:
        near, far = connected(small=True)
        super().__init__("PLAIN", near, far, -1, None)


def act(ends: Ends, action: str) -> Any:
    own = ends.own
    match action:
        case "sendmsg":
            return own.sendmsg([BEAT[:2], BEAT[2:]])
        case "send" | "sendall" | "aio_write":
            return getattr(own, action)(BEAT)
        case "shutdown":
            return own.shutdown(socket.SHUT_RDWR)
        case "settimeout":
            return own.settimeout(20)
        case "setsockopt":
            return own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        case "flush":
            return outcome(lambda: own.flush(0.1))
        case "recv":
            return own.recv(4)
        case "cork":
            with own.cork():
                return None
        case _:
            return getattr(own, action)()


def check(ends: Ends, action: str, said: str, received: bytes) -> str:
    if said != "done":
        assert received == b"x" * len(received)
        assert len(received) < len(DATA)
        return "a part, then the end"
    beats = BEAT if action in WRITES else b""
    assert len(received) == len(DATA) + len(beats), len(received)
    assert received.replace(BEAT, b"", 1) == DATA
    return "every byte once"


def main(kind: str, action: str) -> None:
    ends = PlainEnds() if kind == "PLAIN" else connect(kind, small=True)
    entered = threading.Event()
    answers: list[str] = []

    def handler(*_: object) -> None:
        entered.set()
        act(ends, action)
        answers.append("done")

    def read() -> bytes:
        assert entered.wait(20)
        # The handler is at work, and may have to wait for this.
        threading.Event().wait(0.3)
        parts = []
        try:
            while part := ends.receive():
                parts.append(part)
        except ConnectionResetError:
            pass
        return b"".join(parts)

    if action == "recv":
        ends.say(b"word")
    reading = Call(read)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    result = outcome(lambda: ends.own.sendall(DATA))
    said = "done" if result == "returned None" else result
    print("handler", *answers)
    print("sendall", said)
    ends.own.close()
    print(check(ends, action, said, reading.result()))
    ends.close()


main(*sys.argv[1:])
