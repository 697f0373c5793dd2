"""Forks and starts of processes, in every way, while threads send on two keyed connections.

Usage: forks_under_load.py COUNT.  Each child tries to write on its parent's connections, and many
send on one of their own; the parent opens the records of all of them.
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading

import ktls
from keyed_link import connected, parameters
from record_reader import SUITES, RecordReader, Secrets, raw_records
from support.ends import Call
from support.forks import FORKS, outcome

EACH = 50_000
SLOW = 25
"""One in so many starts an interpreter."""
parents: list[ktls.Socket] = []
opened: set[tuple[bytes, int]] = set()
lock = threading.Lock()


def read(peer: socket.socket, secrets: Secrets) -> int:
    """Open all records; the length of the data.  A pair that was seen before fails."""
    reader = RecordReader(secrets)
    length = 0
    for record in raw_records(peer):
        pair = (secrets.key, reader.sequence)
        _, payload = reader.open(record)
        with lock:
            assert pair not in opened
            opened.add(pair)
        length += len(payload)
    return length


def enable(sock: socket.socket, secrets: Secrets) -> ktls.Socket:
    ktls.enable()
    own = ktls.Socket(sock)
    own.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
    return own


def work_in_child(near: socket.socket, secrets: Secrets) -> None:
    """Be refused by the parent's connections, and send on one of our own."""
    for sock in parents:
        assert outcome(lambda: sock.send(b"from a child")) == "EPERM"  # noqa: B023
    with enable(near, secrets) as own:
        own.sendall(bytes(EACH))
        own.flush(20)
    for sock in parents:
        sock.close()


def be_refused() -> None:
    """The same as far as it goes behind Python's back.

    A call that lets the interpreter go may hang there: CPython's own lock counts waiters that the
    child does not have.
    """
    for sock in parents:
        assert outcome(lambda: sock.settimeout(1)) == "EPERM"  # noqa: B023
        assert sock.pending == 0


def leave(work: object, *arguments: object) -> None:
    """Run `work` in a child that was forked, and end."""
    code = 1
    try:
        signal.alarm(20)
        work(*arguments)  # type: ignore[operator]
        code = 0
    finally:
        os._exit(code)


def forked(way: str, near: socket.socket, secrets: Secrets) -> int:
    child = FORKS[way]()
    if not child:
        if way == "libc":
            leave(be_refused)
        leave(work_in_child, near, secrets)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def spawned() -> int:
    child = os.posix_spawn(sys.executable, [sys.executable, "-I", "-S", "-c", ""], os.environ)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def started(method: str, near: socket.socket, secrets: Secrets) -> int:
    context = multiprocessing.get_context(method)
    process = context.Process(target=work_in_child, args=(near, secrets))
    process.start()
    process.join(40)
    code = process.exitcode
    assert code is not None, f"a child of {method} does not end"
    return code


def way_of(number: int) -> str:
    if number % SLOW == 0:
        return ("spawn", "forkserver", "posix_spawn")[number // SLOW % 3]
    return ("os.fork", "libc", "fork")[number % 3]


def main(count: int) -> None:
    stop = threading.Event()
    sent = [0, 0]
    readings = []
    for _ in sent:
        near, far = connected()
        secrets = Secrets(SUITES[3])
        parents.append(enable(near, secrets))
        readings.append(Call(read, far, secrets))

    def write(index: int) -> None:
        while not stop.is_set():
            length = (100, 16_384, 200_000)[sent[index] % 3]
            parents[index].sendall(bytes(length))
            sent[index] += length
            stop.wait(0.001)

    writing = [Call(write, index) for index in range(len(sent))]
    for number in range(count):
        way = way_of(number)
        if way == "posix_spawn":
            assert spawned() == 0
            continue
        near, far = connected()
        secrets = Secrets(SUITES[3])
        reading = Call(read, far, secrets)
        code = forked(way, near, secrets) if way in FORKS else started(way, near, secrets)
        near.close()
        assert code == 0, f"{way}: {code}"
        assert reading.result() == (0 if way == "libc" else EACH), way
        far.close()
    stop.set()
    for call in writing:
        call.result()
    for sock in parents:
        sock.close()
    assert [reading.result() for reading in readings] == sent
    print(f"{count} forks, all records opened")


if __name__ == "__main__":
    main(int(sys.argv[1]))
