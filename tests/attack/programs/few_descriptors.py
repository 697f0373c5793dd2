"""A process that may open few files.

Usage: few_descriptors.py many|wrap|fileno KIND.
"""

import contextlib
import os
import resource
import selectors
import signal
import socket
import ssl
import sys
from typing import Any

import ktls
from keyed_link import connected, parameters
from record_reader import SUITES, Secrets
from support.ends import Ends, client_context, connect, server_context, wrap
from support.forks import outcome

COUNT = 300


def limit(count: int) -> None:
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (count, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )


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


def taken_over(kind: str, near: socket.socket) -> None:
    """A wrapped socket is, when it is used first."""
    with wrap(kind, near, True, do_handshake_on_connect=False) as own:
        assert own.cipher() is None


def by_wrap(kind: str) -> None:
    answers = []
    with connect(kind) as ends:
        # Makes the contexts, whose certificates are read from files.
        works(ends)
    for spare in range(2):
        near, far = connected()
        with no_room(spare):
            if kind == "KEYED":
                answers.append(outcome(lambda: ktls.Socket(near)))  # noqa: B023
            else:
                answers.append(outcome(lambda: taken_over(kind, near)))  # noqa: B023
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
    # Made once, for both processes.
    contexts = server_context(), client_context()
    peer = os.fork()
    if not peer:
        signal.alarm(40)
        code = 1
        try:
            limit(2000)
            read_words(kind, listener.getsockname(), contexts[1])
            code = 0
        finally:
            os._exit(code)
    try:
        limit(1024)
        serve(kind, listener)
        _, status = os.waitpid(peer, 0)
    except BaseException:
        os.kill(peer, signal.SIGKILL)
        raise
    assert os.waitstatus_to_exitcode(status) == 0
    print(f"{COUNT} connections, each wrote and was polled")


def read_words(kind: str, address: Any, context: ssl.SSLContext) -> None:
    held = [socket.create_connection(address, 30) for _ in range(COUNT)]
    if kind != "KEYED":
        held = [context.wrap_socket(sock, server_hostname="localhost") for sock in held]
    for sock in held:
        assert sock.recv(65536)


def serve(kind: str, listener: socket.socket) -> None:
    secrets = Secrets(SUITES[3])
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


{"many": many, "wrap": by_wrap, "fileno": by_fileno}[sys.argv[1]](sys.argv[2])
