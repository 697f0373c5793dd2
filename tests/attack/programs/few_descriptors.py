"""A process that may open few files.

Usage: few_descriptors.py many|wrap|fileno|ask|prepare KIND.
"""

import contextlib
import os
import resource
import selectors
import signal
import socket
import ssl
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ktls
from keyed_link import connected, parameters
from record_reader import SUITES, Secrets
from support.ends import AUTHORITY, Ends, client_context, connect, server_context, wrap
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
        own.fileno()


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


def by_asking(kind: str) -> None:
    """What is asked of the kernel needs no other descriptor."""
    linger = struct.pack("ii", 0, 0)
    with connect(kind) as ends, no_room():
        own = ends.own
        assert own.getpeername()[1] != own.getsockname()[1]
        own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, len(linger)) == linger
        assert str(own.getsockname()[1]) in repr(own) or kind != "KEYED"
        works(ends)
        own.shutdown(socket.SHUT_RDWR)
    print("asked and answered")


def by_prepare(kind: str) -> None:
    """A context for which there was no room once is as good as any, later."""
    with connect(kind) as ends:
        # Workers, and the key log of the process.
        works(ends)
    context = ktls.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    with no_room():
        ktls.prepare(context)
    near, far = connected()
    with ThreadPoolExecutor(1) as pool:
        peer = pool.submit(client_context().wrap_socket, far, server_hostname="localhost")
        with context.wrap_socket(near, server_side=True) as own, peer.result():
            assert (own.mode, own.why) == (ktls.Mode.SW, "")
    print("taken over")


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


CALLS = {
    "many": many,
    "wrap": by_wrap,
    "fileno": by_fileno,
    "ask": by_asking,
    "prepare": by_prepare,
}
CALLS[sys.argv[1]](sys.argv[2])
