"""Servers that fork for each connection: who makes the handshake, and who ends it."""

import array
import fcntl
import os
import socket
import ssl
import termios
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import ktls
from cli.server_process import PATIENCE_S, eventually

from .curl import VERSIONS, Curl
from .document import sections
from .program import Program

SIZE = 8_000_000
HELD = 400_000
SMALL = 65536
LAZY = "do_handshake_on_connect=False"

with_versions = pytest.mark.parametrize("version", VERSIONS)


class Link:
    """A connection that this process has accepted, and a stock client of it in a thread."""

    def __init__(self, shared: Path, version: str, *, lazy: bool) -> None:
        context = ktls.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(shared / "server.pem")
        plain = socket.create_server(("127.0.0.1", 0))
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
        address = plain.getsockname()
        listener = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=not lazy)
        self._theirs = ssl.create_default_context(cafile=shared / "ca.pem")
        number = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]
        self._theirs.minimum_version = self._theirs.maximum_version = number
        self._pool = ThreadPoolExecutor(1)
        self.client: Future[ssl.SSLSocket] = self._pool.submit(self._connect, address)
        with listener:
            self.own, _ = listener.accept()

    def _connect(self, address: tuple[str, int]) -> ssl.SSLSocket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        sock.settimeout(PATIENCE_S)
        self.client_fd = sock.fileno()
        sock.connect(address)
        return self._theirs.wrap_socket(sock, server_hostname="127.0.0.1")

    def close(self) -> None:
        self.own.close()
        self.client.result(PATIENCE_S).close()
        self._pool.shutdown()


def start_child(work: Callable[[], None]) -> int:
    """Fork, as socketserver does: the child leaves by os._exit."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def link(shared: Path, version: str) -> Iterator[Link]:
    made = Link(shared, version, lazy=True)
    yield made
    made.close()


@with_versions
def test_a_child_that_leaves_has_sent_everything(link: Link) -> None:
    said, saying = os.pipe()

    def work() -> None:
        with link.own:
            link.own.sendall(bytes(SIZE))
            assert (link.own.mode, link.own.pending() >= 0) == (ktls.Mode.SW, True)
            os.write(saying, b"!")

    pid = start_child(work)
    link.own.close()
    client, count = link.client.result(PATIENCE_S), 0
    while count < SIZE - HELD:
        count += len(client.recv(SMALL))
    # The rest is accepted and not sent, and a child that does not wait is gone.
    assert os.read(said, 1) == b"!"
    time.sleep(0.2)
    assert count + sum(map(len, iter(lambda: client.recv(SMALL), b""))) == SIZE
    assert status_of(pid) == 0
    os.close(said)
    os.close(saying)


@with_versions
def test_a_child_does_not_wait_for_a_client_that_has_gone(link: Link) -> None:
    said, saying = os.pipe()

    def work() -> None:
        # The child has a copy of either end.
        os.close(link.client_fd)
        link.own.sendall(bytes(HELD))
        os.write(saying, b"!")
        link.own.close()

    pid = start_child(work)
    link.own.close()
    client = link.client.result(PATIENCE_S)
    client.recv(1)
    assert os.read(said, 1) == b"!"
    # What lies unread makes a reset of it.
    client.close()
    assert status_of(pid) == 0
    os.close(said)
    os.close(saying)


@with_versions
def test_the_parents_close_neither_reads_nor_sends(link: Link) -> None:
    watch = socket.socket(fileno=os.dup(link.own._socket.fileno()))
    eventually(lambda: unread(watch) > 0)
    hello_size = unread(watch)
    go, going = os.pipe()

    def work() -> None:
        with link.own:
            os.read(go, 1)
            link.own.sendall(link.own.recv(100))

    pid = start_child(work)
    link.own.close()
    assert unread(watch) == hello_size
    # The client waits for the first byte of an answer: nothing was said to it, no end either.
    assert not link.client.done()
    assert watch.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\1"  # ESTABLISHED
    os.write(going, b"!")
    client = link.client.result(PATIENCE_S)
    client.sendall(b"the child's")
    assert client.recv(100) == b"the child's"
    assert status_of(pid) == 0
    for descriptor in (go, going):
        os.close(descriptor)
    watch.close()


@with_versions
def test_a_handshake_of_the_parents_is_named_in_the_child(shared: Path, version: str) -> None:
    link = Link(shared, version, lazy=False)
    link.client.result(PATIENCE_S).sendall(b"request")
    own = link.own
    calls = {
        "recv": lambda: own.recv(10),
        "recv_into": lambda: own.recv_into(bytearray(10)),
        "read": lambda: own.read(10),
        "send": lambda: own.send(b"x"),
        "sendall": lambda: own.sendall(b"x"),
        "write": lambda: own.write(b"x"),
        "makefile": lambda: own.makefile("rb").read(1),
        "unwrap": own.unwrap,
        "shutdown": lambda: own.shutdown(socket.SHUT_WR),
    }

    def work() -> None:
        for name, call in calls.items():
            with pytest.raises(PermissionError, match=LAZY) as caught:
                call()
            assert str(os.getppid()) in str(caught.value), name

    assert status_of(start_child(work)) == 0
    # The parent goes on.
    assert own.recv(10) == b"request"
    link.close()


def test_a_server_without_the_two_lines_says_which(
    shared: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    section = sections()["http.server with processes"]
    eager = section.changed(lambda text: text.replace(f", {LAZY}", ""))
    with Program(eager, tmp_path_factory.mktemp("eager"), shared) as program:
        curl = Curl(program.port, shared, tmp_path)
        assert curl.run("https://127.0.0.1/connection").returncode != 0
        eventually(lambda: "PermissionError" in program.said())
        assert LAZY in program.said()
        # The parent accepts as before.
        assert curl.run("https://127.0.0.1/connection").returncode != 0
        assert program.process.poll() is None


def unread(sock: socket.socket) -> int:
    """Bytes that lie in the kernel."""
    count = array.array("i", [0])
    fcntl.ioctl(sock, termios.FIONREAD, count)
    return count[0]
