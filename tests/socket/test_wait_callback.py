"""`ktls.set_wait_callback`: every call that waits has the program's callback wait.

The callback is what makes the peer go on, in the same thread: a call that waited natively would
wait for ever.
"""

import errno
import os
import select
import signal
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

import ktls
from full_link import keep
from keyed_link import connected, parameters
from record_reader import SUITES, Secrets
from support.ends import connect, with_tls_kinds

LARGE = 3_000_000


class Loop:
    """A wait callback with poll(2), which gives the peers their turns while it waits."""

    def __init__(self) -> None:
        self.waits: list[tuple[Any, int, float | None]] = []
        self.turns: list[Callable[[], object]] = []

    def __call__(self, sock: Any, events: int, timeout: float | None) -> None:
        self.waits.append((sock, events, timeout))
        end = None if timeout is None else time.monotonic() + timeout
        poll = select.poll()
        poll.register(sock, events)
        while True:
            for turn in list(self.turns):
                turn()
            if poll.poll(1):
                return
            if end is not None and time.monotonic() >= end:
                raise TimeoutError("timed out")

    def events(self) -> set[int]:
        return {events for _, events, _ in self.waits}


@pytest.fixture
def loop(enabled: None) -> Iterator[Loop]:
    loop = Loop()
    ktls.set_wait_callback(loop)
    yield loop
    ktls.set_wait_callback(None)


class Drain:
    """A turn in which a peer takes what has arrived."""

    def __init__(self, peer: socket.socket) -> None:
        peer.setblocking(False)
        self.peer, self.data = peer, bytearray()

    def __call__(self) -> None:
        try:
            while part := self.peer.recv(1 << 20):
                self.data += part
        except (BlockingIOError, ssl.SSLWantReadError):
            pass


@pytest.fixture
def link() -> Iterator[tuple[ktls.Socket, socket.socket]]:
    """A socket without keys, so that bytes arrive as they are, and its peer."""
    keep(100_000)
    near, far = connected(small=True)
    with ktls.Socket(near) as sock, far:
        yield sock, far


def write_file() -> Any:
    file = tempfile.TemporaryFile()  # noqa: SIM115  # its user closes it
    file.write(bytes(LARGE))
    file.seek(0)
    return file


WRITES: dict[str, Callable[[ktls.Socket], Any]] = {
    "send": lambda sock: sock.send(bytes(LARGE)),
    "send a buffer": lambda sock: sock.send(bytearray(LARGE)),
    "sendall": lambda sock: sock.sendall(bytes(LARGE)),
    "sendall a buffer": lambda sock: sock.sendall(memoryview(bytearray(LARGE))),
    "sendmsg": lambda sock: sock.sendmsg([bytes(LARGE // 2), bytes(LARGE // 2)]),
}


@pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
def test_writes_wait_by_the_callback(
    loop: Loop, link: tuple[ktls.Socket, socket.socket], call: Callable[[ktls.Socket], Any]
) -> None:
    sock, peer = link
    drain = Drain(peer)
    loop.turns.append(drain)
    assert call(sock) in (LARGE, None)
    assert loop.events() == {select.POLLOUT}
    assert {waited for waited, _, _ in loop.waits} == {sock}
    assert {timeout for _, _, timeout in loop.waits} == {None}
    sock.flush()
    while len(drain.data) < LARGE:
        drain()
    assert drain.data == bytes(LARGE)


def test_sendfile_of_a_file_and_of_what_can_only_be_read(
    loop: Loop, link: tuple[ktls.Socket, socket.socket]
) -> None:
    sock, peer = link
    drain = Drain(peer)
    loop.turns.append(drain)
    with write_file() as file:
        assert sock.sendfile(file) == LARGE
        assert file.tell() == LARGE
    assert loop.events() == {select.POLLOUT}
    reader, writer = os.pipe()
    os.write(writer, b"x" * 60_000)
    os.close(writer)
    with open(reader, "rb") as pipe:
        assert sock.sendfile(pipe) == 60_000
    sock.flush()
    while len(drain.data) < LARGE + 60_000:
        drain()


def test_a_message_that_has_to_go_whole(loop: Loop) -> None:
    keep(40_000)
    near, far = connected(small=True)
    with ktls.Socket(near) as sock, far:
        secrets = Secrets(SUITES[3])
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
        drain = Drain(far)
        loop.turns.append(drain)
        alert = [(ktls.IPPROTO_TCP, ktls.TLS_SET_RECORD_TYPE, bytes([21]))]
        for _ in range(40):
            assert sock.sendmsg([bytes(16000)], alert) == 16000
        assert loop.events() == {select.POLLOUT}


def test_flush_waits_for_what_was_accepted(
    loop: Loop, link: tuple[ktls.Socket, socket.socket]
) -> None:
    sock, peer = link
    future = sock.aio_write(bytes(LARGE))
    assert not loop.waits
    loop.turns.append(Drain(peer))
    sock.flush()
    assert loop.events() == {select.POLLOUT}
    assert sock.pending == 0
    assert future.result(20) == LARGE


READS: dict[str, Callable[[ktls.Socket], Any]] = {
    "recv": lambda sock: sock.recv(3),
    "recv much": lambda sock: sock.recv(1 << 20),
    "recv all": lambda sock: sock.recv(6, socket.MSG_WAITALL),
    "recv_into": lambda sock: sock.recv_into(bytearray(3)),
    "recvmsg": lambda sock: sock.recvmsg(3),
    "recvmsg_into": lambda sock: sock.recvmsg_into([bytearray(3)]),
    "peek": lambda sock: sock.recv(3, socket.MSG_PEEK),
}


@pytest.mark.parametrize("call", READS.values(), ids=READS)
def test_reads_wait_by_the_callback(
    loop: Loop, link: tuple[ktls.Socket, socket.socket], call: Callable[[ktls.Socket], Any]
) -> None:
    sock, peer = link
    loop.turns.append(lambda: peer.sendall(b"abc"))
    got = call(sock)
    assert got in (b"abc", b"abcabc", 3, (b"abc", [], 0, None), (3, [], 0, None))
    assert loop.events() == {select.POLLIN}
    assert {waited for waited, _, _ in loop.waits} == {sock}


def test_peeking_for_all_is_refused(loop: Loop, link: tuple[ktls.Socket, socket.socket]) -> None:
    with pytest.raises(OSError, match="peek without MSG_WAITALL"):
        link[0].recv(3, socket.MSG_PEEK | socket.MSG_WAITALL)


def test_callback_wait_that_times_out_says_what_was_accepted(
    loop: Loop, link: tuple[ktls.Socket, socket.socket]
) -> None:
    sock, _ = link
    sock.settimeout(0.05)
    with pytest.raises(TimeoutError, match="recv operation timed out"):
        sock.recv(1)
    assert all(timeout is not None and 0 < timeout <= 0.05 for _, _, timeout in loop.waits)
    with pytest.raises(TimeoutError, match=r"[0-9]+ bytes were accepted"):
        sock.sendall(bytes(LARGE))
    with pytest.raises(TimeoutError):
        sock.flush(0.01)


def test_a_callback_that_returns_at_the_time_out(link: tuple[ktls.Socket, socket.socket]) -> None:
    ktls.set_wait_callback(lambda sock, events, timeout: threading.Event().wait(timeout))
    try:
        link[0].settimeout(0.05)
        with pytest.raises(TimeoutError):
            link[0].recv(1)
    finally:
        ktls.set_wait_callback(None)


def test_what_the_callback_raises_ends_the_call(
    loop: Loop, link: tuple[ktls.Socket, socket.socket]
) -> None:
    """Nothing is lost, nothing comes twice; an exception that is no Exception passes, too."""
    sock, peer = link

    def stop() -> None:
        raise KeyboardInterrupt

    loop.turns.append(stop)
    with pytest.raises(KeyboardInterrupt):
        sock.recv(1)
    with write_file() as file:
        with pytest.raises(KeyboardInterrupt):
            sock.sendfile(file)
        accepted = file.tell()
    loop.turns[:] = [drain := Drain(peer)]
    sock.sendall(b"end")
    sock.flush()
    while len(drain.data) < accepted + 3:
        drain()
    assert drain.data == bytes(accepted) + b"end"
    loop.turns[:] = [raise_timeout]
    with pytest.raises(TimeoutError, match="not ours"):
        sock.recv(1)


def raise_timeout() -> None:
    raise TimeoutError("not ours")


def test_a_write_inside_a_wait_of_the_same_thread(
    loop: Loop, link: tuple[ktls.Socket, socket.socket]
) -> None:
    """As that of another greenlet, or of a signal handler: it goes in between, or waits itself."""
    sock, peer = link
    drain = Drain(peer)

    def write() -> None:
        loop.turns[:] = [drain]
        sock.sendall(b"b" * LARGE)
        sock.flush()

    loop.turns.append(write)
    sock.sendall(b"a" * LARGE)
    sock.flush()
    while len(drain.data) < 2 * LARGE:
        drain()
    assert drain.data.count(b"a") == drain.data.count(b"b") == LARGE


def test_a_signal_handler_that_raises_in_the_callback(
    loop: Loop, link: tuple[ktls.Socket, socket.socket]
) -> None:
    def handler(*_: object) -> None:
        raise LookupError("from the handler")

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        loop.turns.append(lambda: os.kill(os.getpid(), signal.SIGUSR1))
        with pytest.raises(LookupError):
            link[0].recv(1)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_close_that_lingers_waits_by_the_callback(loop: Loop) -> None:
    keep(1_000_000)
    near, far = connected(small=True)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
    with far, ktls.Socket(near) as sock:
        assert sock.send(bytes(500_000)) == 500_000
        drain = Drain(far)
        loop.turns.append(drain)
        sock.close()
        assert loop.waits
        while len(drain.data) < 500_000:
            drain()


def test_connect_waits_by_the_callback(loop: Loop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ktls.Socket(socket.socket()) as sock:
        name = server.getsockname()
        sock.connect(name)
        assert sock.getpeername() == name
        peer, _ = server.accept()
        peer.close()
    with ktls.Socket(socket.socket()) as sock:
        assert sock.connect_ex(name) == errno.ECONNREFUSED
        with pytest.raises(ConnectionRefusedError):
            sock.connect(name)


def test_connect_waits_where_nobody_accepts(loop: Loop) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        full = [socket.socket() for _ in range(2)]
        for sock in full:
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
        with ktls.Socket(socket.socket()) as sock:
            sock.settimeout(0.1)
            with pytest.raises(TimeoutError):
                sock.connect(server.getsockname())
        assert loop.events() == {select.POLLOUT}
        for sock in full:
            sock.close()


class Handshake:
    """A turn in which a stock client in two memory buffers makes its part of everything."""

    def __init__(self, context: ssl.SSLContext, peer: socket.socket) -> None:
        peer.setblocking(False)
        self.peer, self.data = peer, bytearray()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.todo: list[Callable[[], object]] = [self.ssl.do_handshake]

    def __call__(self) -> None:
        with suppress(BlockingIOError):
            self._incoming.write(self.peer.recv(1 << 20))
        try:
            while self.todo:
                self.todo[0]()
                self.todo.pop(0)
            while part := self.ssl.read(1 << 16):
                self.data += part
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        if out := self._outgoing.read():
            self.peer.sendall(out)


@pytest.mark.parametrize("mode", [ktls.Mode.SW, ktls.Mode.NONE])
def test_every_call_of_a_tls_socket(
    loop: Loop, mode: ktls.Mode, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """Accept, handshake, read, recv_into, sendall, sendfile, unwrap: all against one thread."""
    ktls.sysctl["kern.ipc.tls.enable"] = int(mode is ktls.Mode.SW)
    keep(100_000)
    plain = socket.create_server(("127.0.0.1", 0))
    peers: list[Handshake] = []

    def connect() -> None:
        if not peers:
            sock = socket.create_connection(plain_name)
            peers.append(Handshake(client_context, sock))
        peers[0]()

    plain_name = plain.getsockname()
    loop.turns.append(connect)
    with ktls.wrap_socket(plain, ktls.prepare(server_context), server_side=True) as listening:
        sock, _ = listening.accept()
        assert loop.waits[0][0] is listening
    with sock:
        peer = peers[0]
        assert (sock.mode, sock.rx_mode) == (mode, mode)
        assert any(waited is sock for waited, _, _ in loop.waits)
        for read in (sock.recv, sock.read, lambda size: sock.recv_into(bytearray(size))):
            loop.waits.clear()
            peer.todo.append(lambda: peer.ssl.write(b"abc"))
            assert read(3) in (b"abc", 3)
            assert loop.events() == {select.POLLIN}
        loop.waits.clear()
        sock.sendall(bytes(LARGE))
        with write_file() as file:
            assert sock.sendfile(file) == LARGE
        sent = sock.send(b"x") + sock.sendmsg([b"y", b"z"])
        sock.flush()
        assert loop.events() == {select.POLLOUT}
        while len(peer.data) < 2 * LARGE + sent:
            peer()
        assert peer.data == bytes(2 * LARGE) + b"xyz"
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError, match="read operation timed out"):
            sock.recv(1)
        sock.settimeout(None)
        loop.waits.clear()
        peer.todo.append(peer.ssl.unwrap)
        sock.unwrap().close()
        assert loop.events() <= {select.POLLIN, select.POLLOUT}
        assert loop.waits
        peer.peer.close()


def test_a_client_connects_and_shakes_hands(
    loop: Loop, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    ktls.prepare(client_context)
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[ssl.SSLSocket] = []

        def serve() -> None:
            if not accepted:
                server.setblocking(False)
                sock, _ = server.accept()
                sock.setblocking(False)
                accepted.append(
                    server_context.wrap_socket(
                        sock, server_side=True, do_handshake_on_connect=False
                    )
                )
            with suppress(ssl.SSLWantReadError):
                accepted[0].do_handshake()

        sock = ktls.wrap_socket(socket.socket(), client_context, server_hostname="localhost")
        with sock:
            loop.turns.append(serve)
            sock.connect(server.getsockname())
            assert sock.mode is ktls.Mode.SW
            assert loop.waits
            accepted[0].close()


def test_callback_can_be_asked_for_and_turned_off(
    loop: Loop, link: tuple[ktls.Socket, socket.socket]
) -> None:
    assert ktls.get_wait_callback() is loop
    ktls.set_wait_callback(None)
    assert ktls.get_wait_callback() is None
    link[0].settimeout(0.01)
    with pytest.raises(TimeoutError):
        link[0].recv(1)
    assert not loop.waits
    with pytest.raises(TypeError, match="cannot be called"):
        ktls.set_wait_callback("gevent")  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [None, 20])
@pytest.mark.parametrize("call", ["recv", "send", "sendall", "sendmsg", "unwrap"])
@with_tls_kinds
def test_its_blocking_error_is_no_would_block(kind: str, call: str, timeout: float | None) -> None:
    """What the callback raises ends a call of a TLSSocket as it is."""
    raised = BlockingIOError(errno.EAGAIN, "the loop is busy")
    cause = raised.__cause__ = ValueError("why")

    def refuse(*_: object) -> None:
        raise raised

    with connect(kind, small=True) as ends:
        own = ends.own
        own.settimeout(timeout)
        calls: dict[str, Callable[[], Any]] = {
            "recv": lambda: own.recv(1),
            "send": lambda: [own.send(bytes(LARGE)) for _ in range(20)],
            "sendall": lambda: [own.sendall(bytes(LARGE)) for _ in range(20)],
            "sendmsg": lambda: [own.sendmsg([bytes(LARGE)]) for _ in range(20)],
            "unwrap": own.unwrap,
        }
        ktls.set_wait_callback(refuse)
        try:
            with pytest.raises(BlockingIOError) as caught:
                calls[call]()
        finally:
            ktls.set_wait_callback(None)
        own.abort()
    assert caught.value is raised
    assert raised.__cause__ is cause


def test_calls_that_do_not_wait_call_no_callback(
    loop: Loop, link: tuple[ktls.Socket, socket.socket]
) -> None:
    sock, peer = link
    sock.sendall(b"abc")
    assert peer.recv(3) == b"abc"
    with pytest.raises(BlockingIOError):
        sock.recv(1, socket.MSG_DONTWAIT)
    sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    assert sock.send(bytes(LARGE)) < LARGE
    with pytest.raises(BlockingIOError):
        list(map(sock.send, [bytes(LARGE)] * 1000))
    assert not loop.waits
