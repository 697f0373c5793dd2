"""A storm of raising signals in one call that receives, while data and KeyUpdates go both ways.

Usage: receive_storm.py KIND CALL VERSION PEER SIGNALS RULE.  KIND is ours, PEER the other end: SW,
NONE or STOCK, and PLAIN for both is a plain socket, the model.  Prints what happened as JSON.

With any socket of Python a handler that raises when the C function has returned, and its result is
not assigned yet, loses that result: the interpreter looks at signals right behind the call.  No
library can help that, so with the RULE "inside" the handler raises only while no result is on its
way.  Whether one is cannot be seen from a frame, which is at the same instruction before and after;
but the interpreter tells a profile function when a C function is entered and when it has returned,
and looks at signals only after that.  So: inside a C function, and nothing was received since the
outermost one was entered (`io` has what was, and drops it for an exception).  For the same reason
a buffered file is read by `read1`: its other calls drop what lies in the buffer, whatever is below.

With the RULE "always" the handler raises wherever it is, and results that were lost are counted.
"""

import json
import random
import select
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import ktls
from keyed_link import connected
from support.ends import ENABLE, Call, client_context, prepared_context, server_context

WORD = 8
TABLE = b"".join(n.to_bytes(WORD, "big") for n in range(1 << 17))
RECEIVES = {"recv", "recv_into", "read", "readinto"}
UPDATE_EACH = 40
"""Writes between two KeyUpdates."""


class InterruptedByTest(Exception):
    pass


class Signals:
    """The handler, and the profile function that it asks."""

    def __init__(self, rule: str) -> None:
        self.raised = self.held = 0
        # Whether the program makes its call.
        self.is_calling = False
        self._always = rule == "always"
        self._depth = 0
        self._has_received = False
        own = (Signals._profile, Signals._handle)
        self._own_code = {function.__code__ for function in own}

    def start(self) -> None:
        signal.signal(signal.SIGALRM, self._handle)
        sys.setprofile(self._profile)
        self._arm()

    def stop(self) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        sys.setprofile(None)

    def _arm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 6e-4))

    def _is_its_own(self, frame: FrameType | None) -> bool:
        """Whether what was interrupted is this object, or something that it called."""
        while frame is not None:
            if frame.f_code in self._own_code:
                return True
            frame = frame.f_back
        return False

    def _profile(self, _frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call":
            self._depth += 1
            if self._depth == 1:
                self._has_received = False
        elif event in ("c_return", "c_exception"):
            self._depth -= 1
            if event == "c_return" and function.__name__ in RECEIVES:
                self._has_received = True

    def _handle(self, _number: int, frame: FrameType | None) -> None:
        is_inside = self._depth > 0 and not self._has_received
        self._arm()
        if self._is_its_own(frame):
            return
        if self.is_calling and (is_inside or self._always):
            self.raised += 1
            self.is_calling = False
            raise InterruptedByTest
        self.held += 1


# -- both ends -------------------------------------------------------------------------------------


def ends(kind: str, peer_kind: str, version: str) -> tuple[Any, Any]:
    near, far = connected(small=False)
    for sock in (near, far):
        sock.settimeout(30)
    if kind == "PLAIN":
        return near, far
    number = ssl.TLSVersion.TLSv1_3 if version == "1.3" else ssl.TLSVersion.TLSv1_2
    for context in (
        server_context(),
        client_context(),
        prepared_context(True),
        prepared_context(False),
    ):
        context.minimum_version = context.maximum_version = number
    for server_side in (True, False):
        ktls.prepare(prepared_context(server_side))
    peer = Call(wrapped, peer_kind, far, False)
    own = wrapped(kind, near, True)
    other = peer.result()
    for sock, its_kind in ((own, kind), (other, peer_kind)):
        if its_kind != "STOCK":
            assert sock.mode is ktls.Mode[its_kind], sock.why
            assert sock.rx_mode is ktls.Mode[its_kind], sock.rx_why
    return own, other


def wrapped(kind: str, sock: Any, server_side: bool) -> Any:
    options = {"server_side": server_side, "server_hostname": None if server_side else "localhost"}
    if kind == "STOCK":
        context = server_context() if server_side else client_context()
        return context.wrap_socket(sock, **options)
    return ktls.wrap_socket(sock, prepared_context(server_side), **options)


class Flow:
    """What one end sends, in a thread; `sent` counts.

    `check` takes what comes meanwhile: two threads at once are too much for an SSLSocket.
    """

    def __init__(self, sock: Any, updates: bool, check: "Check | None") -> None:
        self.sent = 0
        self._sock = sock
        self._updates = updates
        self._check = check
        self._stop = threading.Event()
        self._call = Call(self._run)

    def _run(self) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            self._send(random.choice((1, 7, 100, 3000, 20_000)))
            if self._updates and turn % UPDATE_EACH == 0:
                self._sock.key_update(request=turn % (2 * UPDATE_EACH) == 0)
            while self._check is not None and select.select([self._sock], [], [], 0)[0]:
                self._check.take(self._sock.recv(65536))
            if turn % 3 == 0:
                time.sleep(0.0003)
        # A stock peer may be reading because of a KeyUpdate, and waits for data.
        self._send(WORD)

    def _send(self, size: int) -> None:
        at = self.sent % len(TABLE)
        part = TABLE[at : at + size]
        self._sock.sendall(part)
        self.sent += len(part)

    def stop(self) -> int:
        self._stop.set()
        self._call.result()
        return self.sent


class Check:
    """What one end has received: the table over and over."""

    def __init__(self, counts_losses: bool) -> None:
        self.at = 0
        self.losses = 0
        self._is_lost = False
        self._counts_losses = counts_losses

    def take(self, data: bytes) -> None:
        at = self.at % len(TABLE)
        expected = (TABLE + TABLE[: 1 << 17])[at : at + len(data)]
        if data == expected and not self._is_lost:
            self.at += len(data)
            return
        assert self._counts_losses, f"{data[:20]!r} at {self.at}, not {expected[:20]!r}"
        self.losses += not self._is_lost
        # A few bytes are found in many places.
        self._is_lost = len(data) < 4 * WORD
        if not self._is_lost:
            found = (TABLE[at:] + TABLE).find(data[:4096])
            assert found >= 0, "what comes is not what was sent"
            self.at += found + len(data)


# -- the calls -------------------------------------------------------------------------------------


def receiver(own: Any, call: str) -> Callable[[], bytes]:
    """A function that makes the call once and returns what it received."""
    buffer = bytearray(4000)
    raw = own.makefile("rb", buffering=0)
    buffered = own.makefile("rb")

    def recv() -> bytes:
        data: bytes = own.recv(4000)
        return data

    def recv_into() -> bytes:
        count = own.recv_into(buffer)
        return bytes(buffer[:count])

    def readinto() -> bytes:
        count = raw.readinto(buffer)
        return bytes(buffer[:count])

    calls: dict[str, Callable[[], bytes]] = {
        "recv": recv,
        "recv_into": recv_into,
        "read": lambda: raw.read(4000),  # type: ignore[no-any-return]
        "readinto": readinto,
        "readline": lambda: raw.readline(9),  # type: ignore[no-any-return]
        "read1": lambda: buffered.read1(4000),  # type: ignore[no-any-return]
    }
    return calls[call]


def main(kind: str, call: str, version: str, peer_kind: str, count: int, rule: str) -> None:
    ktls.enable()
    ktls.sysctl[ENABLE] = kind != "NONE"
    own, other = ends(kind, peer_kind, version)
    incoming, outgoing = Check(rule == "always"), Check(False)
    signals = Signals(rule)
    receive = receiver(own, call)
    is_13 = version == "1.3"
    is_stock = peer_kind == "STOCK"
    to_us = Flow(other, is_13 and peer_kind == "SW", outgoing if is_stock else None)

    def drain() -> None:
        while data := other.recv(65536):
            outgoing.take(data)

    drained = None if is_stock else Call(drain)
    from_us = Flow(own, is_13 and kind == "SW", None)
    calls = 0
    signals.start()
    try:
        while signals.raised < count:
            try:
                signals.is_calling = True
                data = receive()
                signals.is_calling = False
            except InterruptedByTest:
                continue
            incoming.take(data)
            calls += 1
    finally:
        signals.stop()
    # A buffered file may hold something; the others would be slow.
    rest = receive if call == "read1" else lambda: own.recv(1 << 16)
    # The peer goes on with reading while it sends.
    stopping = Call(from_us.stop)
    while stopping.is_alive():
        incoming.take(rest())
    sent = stopping.result()
    own.settimeout(1)
    stopping = Call(to_us.stop)
    while stopping.is_alive() or incoming.at < to_us.sent:
        try:
            incoming.take(rest())
        except TimeoutError:
            if rule == "always" and not stopping.is_alive():
                break
    stopping.result()
    own.shutdown(socket.SHUT_WR)
    (drained or Call(drain)).result()
    assert outgoing.at == sent
    told = {
        "calls": calls,
        "raised": signals.raised,
        "held": signals.held,
        "losses": incoming.losses,
        "received": incoming.at,
        "rekeys": ktls.sysctl["kern.ipc.tls.stats.rekeys"],
    }
    print(json.dumps(told))


main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), sys.argv[6])
