"""A process that may open few files.

Usage: few_descriptors.py many|wrap|fileno KIND.
"""

import contextlib
import os
import resource
import selectors
import socket
import sys
from typing import Any

import ktls
from keyed_link import connected, parameters
from record_reader import SUITES, Secrets
from support.ends import Ends, connect, server_context, wrap
from support.forks import outcome

COUNT = 300


def limit(count: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def highest() -> int:
    return max(map(int, os.listdir("/proc/self/fd")))


@contextlib.contextmanager
def no_room(spare: int = 0):
    """Nothing but `spare` more files can be opened."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    limit(highest() + 1)
    held = []
    with contextlib.suppress(OSError):
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    for _ in range(spare):
        os.close(held.pop())
    try:
        yield
    finally:
        limit(before)
        for number in held:
            os.close(number)


def works(ends: Ends) -> None:
    ends.own.sendall(b"on")
    assert ends.receive_exactly(2) == b"on"
    ends.say(b"back")
    assert ends.own.recv(4) == b"back"


def by_fileno(kind: str) -> None:
    with connect(kind) as ends:
        with no_room():
            first = outcome(ends.own.fileno)
            works(ends)
        # One that needs none is as good.
        assert first == "EMFILE" or first.startswith("returned"), first
        assert ends.own.fileno() >= 0
        works(ends)
    print("EMFILE, then it went on")


def by_wrap(kind: str) -> None:
    answers = []
    for spare in range(2):
        near, far = connected()
        with no_room(spare):
            if kind == "KEYED":
                answers.append(outcome(lambda: ktls.Socket(near)))  # noqa: B023
            else:
                answers.append(
                    outcome(lambda: wrap(kind, near, True, do_handshake_on_connect=False))  # noqa: B023
                )
        near.close()
        far.close()
    assert answers[0] == "EMFILE", answers
    assert answers[1] == "EMFILE" or answers[1].startswith("returned"), answers
    with connect(kind) as ends:
        works(ends)
    print("EMFILE, then it went on")


def many(kind: str) -> None:
    """Peers are of another process: its files do not count."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=COUNT)
    secrets = Secrets(SUITES[3])
    peer = os.fork()
    if not peer:
        limit(2000)
        try:
            held = [socket.create_connection(listener.getsockname(), 20) for _ in range(COUNT)]
            from support.ends import client_context

            if kind != "KEYED":
                context = client_context()
                held = [context.wrap_socket(sock, server_hostname="localhost") for sock in held]
            for sock in held:
                assert sock.recv(65536)
        finally:
            os._exit(0)
    limit(1024)
    assert server_context()
    selector = selectors.DefaultSelector()
    every: list[Any] = []
    for _ in range(COUNT):
        sock, _ = listener.accept()
        if kind == "KEYED":
            ktls.enable()
            own: Any = ktls.Socket(sock)
            own.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        else:
            own = wrap(kind, sock, True)
        own.setblocking(False)
        selector.register(own, selectors.EVENT_WRITE)
        every.append(own)
    waiting = set(every)
    while waiting:
        for key, _ in selector.select(20):
            if key.fileobj in waiting:
                assert key.fileobj.send(b"word") == 4  # type: ignore[union-attr]
                waiting.discard(key.fileobj)
    for own in every:
        selector.unregister(own)
        own.close()
    _, status = os.waitpid(peer, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    print(f"{len(every)} connections, each wrote and was polled")


{"many": many, "wrap": by_wrap, "fileno": by_fileno}[sys.argv[1]](sys.argv[2])
