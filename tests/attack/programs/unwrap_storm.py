"""A storm of raising signals in unwrap, while the peer still sends.

Usage: unwrap_storm.py KIND VERSION SIGNALS.  On each connection unwrap is called until it returns:
it is interrupted anywhere, meets data that is still to be read, and gives a plain socket in the
end, on which the peer goes on in clear.  Prints the number of exceptions as JSON.
"""

import json
import random
import signal
import socket
import ssl
import sys
import threading
import time
from typing import Any

import ktls
from keyed_link import connected
from support.ends import Call, handshaken, prepared_context

PLAIN = b"250 and now in clear\r\n"
EACH = 100
"""Exceptions on one connection before the peer answers."""


class InterruptedByTest(Exception):
    pass


class Signals:
    def __init__(self) -> None:
        self.raised = 0
        self.is_calling = False
        signal.signal(signal.SIGALRM, self._handle)

    def arm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 6e-4))

    def _handle(self, *_: object) -> None:
        if self.is_calling:
            self.raised += 1
            self.is_calling = False
            raise InterruptedByTest


def unwrapped(own: Any, signals: Signals, enough: threading.Event) -> tuple[socket.socket, bytes]:
    """The plain socket, and what was read before."""
    received = b""
    target = signals.raised + EACH
    while True:
        if signals.raised >= target:
            enough.set()
        try:
            # Ready for the signal before it is armed: one that came between would be the last.
            signals.is_calling = True
            signals.arm()
            plain = own.unwrap()
            signals.is_calling = False
        except InterruptedByTest:
            continue
        except ssl.SSLError as error:
            signals.is_calling = False
            if error.reason != "APPLICATION_DATA_AFTER_CLOSE_NOTIFY":
                raise
            received += own.recv(100_000)
            continue
        finally:
            signals.is_calling = False
        return plain, received


def answer(other: Any, data: bytes, enough: threading.Event) -> None:
    """The peer: goes on for a while, then ends TLS and says something in clear."""
    while data:
        size = random.randrange(1, 5000)
        other.sendall(data[:size])
        data = data[size:]
        time.sleep(random.choice((0, 0.001)))
    enough.wait(60)
    assert other.recv(10) == b""
    with other.unwrap() as plain:
        plain.sendall(PLAIN)
        assert plain.recv(10) == b""


def main(kind: str, version: str, count: int) -> None:
    number = ssl.TLSVersion.TLSv1_3 if version == "1.3" else ssl.TLSVersion.TLSv1_2
    context = prepared_context(True)
    context.minimum_version = context.maximum_version = number
    ktls.prepare(context)
    signals = Signals()
    connections = 0
    while signals.raised < count:
        connections += 1
        near, far = connected(small=False)
        for sock in (near, far):
            sock.settimeout(30)
        own, other = handshaken(kind, near, far)
        enough = threading.Event()
        data = random.randbytes(50_000)
        peer = Call(answer, other, data, enough)
        plain, received = unwrapped(own, signals, enough)
        assert received == data
        with plain:
            assert plain.recv(len(PLAIN), socket.MSG_WAITALL) == PLAIN
        peer.result()
    print(json.dumps({"raised": signals.raised, "connections": connections}))


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
