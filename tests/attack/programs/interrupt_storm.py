"""A storm of raising signals while four threads write on shared connections.

Usage: interrupt_storm.py KIND SIGNALS DIRECTORY.  The main thread, which is the one that is
interrupted, calls everything in turn; three others write small messages on the same connection.
Processes of their own read with stock `ssl` and say which messages came, and how much of each.
"""

import json
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from support.ends import server_context, wrap

MARK = b"\xff"
CALLS = ("send", "sendall", "sendmsg", "aio_write", "sendfile")
SMALL = 3_000
TURNS = 400
"""Messages of the main thread on one connection."""


class InterruptedByTest(Exception):
    pass


def handler(*_: object) -> None:
    raise InterruptedByTest


def message(writer: int, number: int, length: int) -> bytes:
    """It names itself, and its beginning names the end of the one before."""
    head = MARK + b"%d:%08d:%08d:" % (writer, number, length)
    return head + bytes([97 + number % 26]) * length


# -- the far end -----------------------------------------------------------------------------------


def serve(listener: socket.socket, directory: Path) -> None:
    """Take connections, each read in a thread of its own, until the first byte says stop."""
    threads = []
    for serial in range(1_000_000):
        sock, _ = listener.accept()
        if sock.recv(1, socket.MSG_PEEK) == b"!":
            break
        threads.append(threading.Thread(target=read, args=(sock, directory / f"{serial}.json")))
        threads[-1].start()
    for thread in threads:
        thread.join()


def read(sock: socket.socket, path: Path) -> None:
    """Write down the messages of one connection: whose, which, how long they are and were to be."""
    sock.settimeout(60)
    told: dict[str, Any] = {"messages": [], "error": None}
    rest = b""
    try:
        with server_context().wrap_socket(sock, server_side=True) as tls:
            while part := tls.recv(1 << 18):
                *complete, rest = (rest + part).split(MARK)
                told["messages"] += [parsed(piece) for piece in complete if piece]
            told["messages"] += [parsed(rest)] if rest else []
    except Exception as error:
        told["error"] = repr(error)
    path.write_text(json.dumps(told))


def parsed(piece: bytes) -> list[int]:
    """Writer, number, length of the body, the one it names; negative ones for a cut head."""
    head, _, body = piece[:20], piece[19:20], piece[20:]
    if len(head) < 20:
        return [-1, -1, 0, 0]
    writer, number, length, _ = head.split(b":")
    assert body == bytes([97 + int(number) % 26]) * len(body), "a message that is not its own"
    return [int(writer), int(number), len(body), int(length)]


# -- our end ---------------------------------------------------------------------------------------


class Connection:
    """One connection, and what its writers know of their messages."""

    def __init__(self, kind: str, address: Any, serial: int) -> None:
        sock = socket.create_connection(address, 60)
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        self.own = wrap(kind, sock, False)
        self.serial = serial
        # Of each writer: what returned, and what was cut short.
        self.returned: list[set[int]] = [set() for _ in range(4)]
        self.uncertain: list[set[int]] = [set() for _ in range(4)]
        self.numbers = [0, 0, 0, 0]

    def write(self, writer: int, call: str, length: int) -> None:
        number = self.numbers[writer]
        self.numbers[writer] = number + 1
        self.uncertain[writer].add(number)
        data = message(writer, number, length)
        match call:
            case "sendfile":
                with tempfile.TemporaryFile() as file:
                    file.write(data)
                    file.flush()
                    count = self.own.sendfile(file, 0)
            case "sendmsg":
                count = self.own.sendmsg([data[:10], data[10:]])
            case _:
                count = getattr(self.own, call)(data)
        if call in ("send", "sendmsg", "sendfile") and count != len(data):
            # OpenSSL takes a record at a time.
            self.own.sendall(data[count:])
        self.returned[writer].add(number)
        self.uncertain[writer].discard(number)

    def check(self, told: dict[str, Any]) -> None:
        assert told["error"] is None, told["error"]
        cut = 0
        last = [-1, -1, -1, -1]
        arrived: list[set[int]] = [set() for _ in range(4)]
        for writer, number, length, named in told["messages"]:
            if writer < 0:
                cut += 1
                continue
            assert number > last[writer], f"message {number} of {writer} after {last[writer]}"
            last[writer] = number
            assert length <= named
            if length == named:
                arrived[writer].add(number)
            else:
                assert number in self.uncertain[writer], f"a part of {number} of {writer}"
        assert cut <= len(self.uncertain[0])
        for writer in range(4):
            missing = self.returned[writer] - arrived[writer]
            assert not missing, f"{len(missing)} of writer {writer} did not arrive: {missing}"
            assert arrived[writer] <= self.returned[writer] | self.uncertain[writer]


def main(kind: str, signals: int, directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        address = listener.getsockname()
        # Before any of our threads.
        reader = os.fork()
        if not reader:
            code = 1
            try:
                signal.alarm(330)
                serve(listener, directory)
                code = 0
            finally:
                os._exit(code)
    signal.signal(signal.SIGALRM, handler)
    finished: Counter[str] = Counter()
    storm = Storm(kind, signals, address, finished)
    try:
        storm.run()
    except BaseException:
        os.kill(reader, signal.SIGKILL)
        raise
    with socket.create_connection(address) as sock:
        sock.sendall(b"!")
    _, status = os.waitpid(reader, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    for connection in storm.connections:
        path = directory / f"{connection.serial}.json"
        connection.check(json.loads(path.read_text()))
    told = {
        "signals": storm.signals,
        "interrupted": sum(len(each.uncertain[0]) for each in storm.connections),
        "connections": len(storm.connections),
        "finished": finished,
    }
    print(json.dumps(told))


class Storm:
    """Opens connections one after another, and writes while signals come."""

    def __init__(self, kind: str, wanted: int, address: Any, finished: Counter[str]) -> None:
        self.connections: list[Connection] = []
        self.signals = 0
        self._kind = kind
        self._wanted = wanted
        self._address = address
        self._finished = finished

    def run(self) -> None:
        while self.signals < self._wanted:
            connection = Connection(self._kind, self._address, len(self.connections))
            self.connections.append(connection)
            stop = threading.Event()
            failures: list[BaseException] = []
            writers = [
                threading.Thread(target=self._write, args=(connection, writer, stop, failures))
                for writer in (1, 2, 3)
            ]
            for thread in writers:
                thread.start()
            self._interrupt(connection, failures)
            stop.set()
            for thread in writers:
                thread.join(60)
                assert not thread.is_alive(), "a writer waits for ever"
            assert not failures, failures
            self._close(connection)

    def _write(
        self,
        connection: Connection,
        writer: int,
        stop: threading.Event,
        failures: list[BaseException],
    ) -> None:
        """One of the writers that are not interrupted."""
        try:
            while not stop.wait(0.0005):
                connection.write(writer, random.choice(CALLS), random.randrange(1, SMALL))
        except BaseException as error:
            failures.append(error)

    def _interrupt(self, connection: Connection, failures: list[BaseException]) -> None:
        for _ in range(TURNS):
            if self.signals >= self._wanted or failures:
                return
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 6e-4))
                while True:
                    self._step(connection)
            except InterruptedByTest:
                self.signals += 1

    def _step(self, connection: Connection) -> None:
        call = random.choice((*CALLS, "flush"))
        if call == "flush":
            connection.own.flush()
        else:
            # More than a record may be cut by the others' messages, so these are few.
            connection.write(0, call, random.randrange(1, SMALL))
        self._finished[call] += 1

    def _close(self, connection: Connection) -> None:
        """As a program does that is interrupted while it closes: once more."""
        assert connection.own.aio_write(b"").result(20) == 0
        for _ in range(3):
            try:
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4))
                connection.own.close()
                time.sleep(0.001)
            except InterruptedByTest:
                self.signals += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.own.close()


main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
