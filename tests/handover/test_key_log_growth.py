"""Handshakes that nobody takes over leave nothing in the key log in memory, and it does not grow.

Stock handshakes over prepared contexts: by `wrap_bio`, as asyncio and others make them, and by the
context's own `wrap_socket`; beside hand-overs, whose lines must not be lost by that.
"""

import asyncio
import gc
import os
import select
import signal
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

from handover.memory_pair import MemoryPair, assert_nothing_is_left, key_log_path, logged
from handover.openssl import Process
from handover.pairs import TIMEOUT, assert_ours, exchange, pair, receive, tcp_pair
from handover.test_fork import in_child
from ktls import Mode
from ktls.handover import keylog, prepare, wrap_socket
from tls_records import CLIENT_HELLO, split_records

SocketPair = tuple[ssl.SSLSocket, ssl.SSLSocket]


class HalfWay:
    """A hand-over of a server that has answered the hello; its peer waits to be told to go on."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext) -> None:
        self.sock, far = tcp_pair()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.peer = client.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.own = wrap_socket(far, server, server_side=True, do_handshake_on_connect=False)

    def __enter__(self) -> Self:
        try:
            with pytest.raises(ssl.SSLWantReadError):
                self.peer.do_handshake()
            self.hello = self.outgoing.read()
            self.sock.sendall(self.hello)
            assert select.select([self.own], [], [], TIMEOUT)[0]
            self.own.setblocking(False)
            with pytest.raises(ssl.SSLWantReadError):
                self.own.do_handshake()
            assert len(keylog.process_log().reader) == 1
        except BaseException:
            self.__exit__()
            raise
        return self

    def finish(self) -> None:
        """Both go on, to the end."""
        self.own.settimeout(TIMEOUT)
        with ThreadPoolExecutor(1) as pool:
            shaken = pool.submit(self.own.do_handshake)
            while self.peer.version() is None:
                self.incoming.write(self.sock.recv(65536))
                with suppress(ssl.SSLWantReadError):
                    self.peer.do_handshake()
                self.sock.sendall(self.outgoing.read())
            shaken.result(TIMEOUT)

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        self.own.close()


@pytest.fixture(autouse=True)
def _begins_with_nothing() -> None:
    keylog.process_log().reader.sweep()
    assert_nothing_is_left()


def stock_pair(
    client: ssl.SSLContext, server: ssl.SSLContext, *, at_once: bool = True
) -> SocketPair:
    near, far = tcp_pair()
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(
            server.wrap_socket, far, server_side=True, do_handshake_on_connect=at_once
        )
        try:
            one = client.wrap_socket(
                near, server_hostname="localhost", do_handshake_on_connect=at_once
            )
        finally:
            near.close()
        return one, accepted.result(TIMEOUT)


# -- finished --------------------------------------------------------------------------------------


def test_by_wrap_bio(make_context, version: str, tmp_path: Path) -> None:
    """Both ends are prepared; a third context logs what there is to be found."""
    client = make_context(False, version=version, prepared=True)
    server = make_context(True, version=version)
    server.keylog_filename = str(tmp_path / "keys.log")
    for _ in range(3):
        ends = MemoryPair(client, server)
        ends.shake_hands()
        secrets = [line.split()[2] for line in _lines(tmp_path / "keys.log")]
        assert secrets
        left = logged()
        assert not any(secret.encode() in left for secret in secrets)
        assert_nothing_is_left()
        ends.exchange()
        assert_nothing_is_left()


def test_what_a_class_of_the_users_own_leaves(make_context, version: str, tmp_path: Path) -> None:
    """It is kept; so this is what would lie there. The end of any other handshake wipes it."""
    client = make_context(False, version=version, prepared=True)
    server = make_context(True, version=version)
    server.keylog_filename = str(tmp_path / "keys.log")
    client.sslobject_class = ssl.SSLObject
    for turns in (1, 2):
        MemoryPair(client, server).shake_hands()
        secrets = [line.split()[2] for line in _lines(tmp_path / "keys.log")]
        left = logged()
        assert all(secret.encode() in left for secret in secrets)
        assert left.count(b"\n") >= turns * (1 if version == "1.2" else 5)
    MemoryPair(make_context(False, version=version, prepared=True), server).shake_hands()
    assert_nothing_is_left()


@pytest.mark.parametrize("which", ["sslobject_class", "sslsocket_class"])
def test_a_class_of_the_contexts_own_is_kept(which: str) -> None:
    class OwnObject(ssl.SSLObject):
        pass

    class OwnSocket(ssl.SSLSocket):
        pass

    own = OwnObject if which == "sslobject_class" else OwnSocket
    context_class = type("Context", (ssl.SSLContext,), {which: own})
    context = prepare(context_class(ssl.PROTOCOL_TLS_CLIENT))
    assert getattr(context, which) is own
    context = prepare(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    setattr(context, which, own)
    assert getattr(prepare(context), which) is own


def test_by_wrap_socket(make_context, version: str, server_side: bool) -> None:
    """After each of them, whichever side is prepared."""
    contexts = [make_context(side, version=version) for side in (False, True)]
    prepare(contexts[server_side])
    for _ in range(3):
        one, two = stock_pair(*contexts)
        with one, two:
            assert_nothing_is_left()
            one.sendall(b"stock")
            assert two.recv(10) == b"stock"
            two.sendall(b"stock")
            assert one.recv(10) == b"stock"
            assert_nothing_is_left()


def test_by_accept_and_connect(make_context, version: str) -> None:
    client = make_context(False, version=version, prepared=True)
    server = make_context(True, version=version, prepared=True)
    with (
        socket.create_server(("127.0.0.1", 0)) as plain,
        server.wrap_socket(plain, server_side=True) as listener,
        client.wrap_socket(socket.socket(), server_hostname="localhost") as one,
        ThreadPoolExecutor(1) as pool,
    ):
        accepted = pool.submit(listener.accept)
        one.connect(listener.getsockname())
        two, _ = accepted.result(TIMEOUT)
        with two:
            assert_nothing_is_left()
            assert type(one) is type(two) is ssl.SSLSocket


def test_resumed(make_context, version: str) -> None:
    client = make_context(False, version=version, prepared=True)
    server = make_context(True, version=version, prepared=True)
    first = MemoryPair(client, server)
    first.shake_hands()
    first.exchange()
    second = MemoryPair(client, server, first.client.session)
    second.shake_hands()
    assert second.client.session_reused
    assert_nothing_is_left()


WRITES = {
    "write": lambda tls: tls.write(b"data"),
    "send": lambda tls: tls.send(b"data"),
    "sendall": lambda tls: tls.sendall(b"data"),
}
READS = {
    "read": lambda tls: tls.read(4),
    "read_into": lambda tls: tls.read(4, bytearray(4)),
    "recv": lambda tls: tls.recv(4),
    "recv_into": lambda tls: tls.recv_into(bytearray(4)),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("write", WRITES)
def test_nobody_calls_do_handshake(make_context, version: str, write: str, read: str) -> None:
    """OpenSSL makes it in the first read or write."""
    client = make_context(False, version=version, prepared=True)
    server = make_context(True, version=version, prepared=True)
    one, two = stock_pair(client, server, at_once=False)
    with one, two, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(READS[read], two)
        WRITES[write](one)
        assert reading.result(TIMEOUT) in (4, b"data")
        assert_nothing_is_left()
        assert type(one) is type(two) is ssl.SSLSocket


def test_nobody_calls_do_handshake_on_objects(make_context, version: str) -> None:
    client = make_context(False, version=version, prepared=True)
    server = make_context(True, version=version, prepared=True)
    ends = MemoryPair(client, server)
    got, written = b"", 0
    while not got:
        with suppress(ssl.SSLWantReadError):
            written = written or ends.client.write(b"data")
        assert_nothing_is_left()
        with suppress(ssl.SSLWantReadError):
            got = ends.server.read(4)
        assert_nothing_is_left()
    assert got == b"data"
    assert type(ends.client) is type(ends.server) is ssl.SSLObject


def test_key_updates_log_nothing(make_context) -> None:
    """OpenSSL has none of the later secrets logged: those of 1.3 that follow a KeyUpdate."""
    server = make_context(True, version="1.3", prepared=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = Process("s_client", "-connect", "{}:{}".format(*listener.getsockname()))
        try:
            sock, _ = listener.accept()
            sock.settimeout(TIMEOUT)
            with server.wrap_socket(sock, server_side=True) as own:
                for _ in range(3):
                    client.say("K\n")
                    client.say("word\n")
                    assert receive(own, 5) == b"word\n"
                    assert_nothing_is_left()
        finally:
            client.stop()


# -- not finished ----------------------------------------------------------------------------------


def test_failed_because_of_the_certificate(make_context, version: str) -> None:
    """Both have secrets of the handshake by then, in TLS 1.3."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server = make_context(True, version=version, prepared=True)
    prepare(client)
    for _ in range(3):
        with pytest.raises(ssl.SSLCertVerificationError):
            MemoryPair(client, server).shake_hands()
        assert_nothing_is_left()
        near, far = tcp_pair()
        with near, far, ThreadPoolExecutor(1) as pool:
            accepted = pool.submit(server.wrap_socket, far, server_side=True)
            with pytest.raises(ssl.SSLCertVerificationError):
                client.wrap_socket(near, server_hostname="localhost")
            with pytest.raises(OSError):
                accepted.result(TIMEOUT).recv(1)
        assert_nothing_is_left()


def test_failed_because_of_a_broken_record(make_context) -> None:
    client = make_context(False, version="1.3", prepared=True)
    server = make_context(True, version="1.3", prepared=True)
    ends = MemoryPair(client, server)
    for end in (ends.client, ends.server):
        with pytest.raises(ssl.SSLWantReadError):
            end.do_handshake()
    hello, *rest = split_records(ends.to_client.read())
    ends.to_client.write(hello + b"".join(rest)[:-1] + b"\0")
    with pytest.raises(ssl.SSLError):
        ends.client.do_handshake()
    assert_nothing_is_left()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_abandoned(make_context, version: str, steps: int) -> None:
    """After so many steps; nothing is left even before the objects are gone."""
    client = make_context(False, version=version, prepared=True)
    server = make_context(True, version=version, prepared=True)
    for _ in range(20):
        ends = MemoryPair(client, server)
        for step in range(steps):
            with suppress(ssl.SSLWantReadError):
                (ends.client, ends.server)[step % 2].do_handshake()
        assert_nothing_is_left()
        del ends
    gc.collect()
    assert_nothing_is_left()


def test_a_hand_over_that_is_closed_half_way(make_context, version: str) -> None:
    """Its lines wait for its end; then they are gone, too."""
    server = make_context(True, version=version, prepared=True)
    with HalfWay(make_context(False, version=version), server):
        assert len(keylog.process_log().reader) == 1
    assert len(keylog.process_log().reader) == 0
    assert_nothing_is_left()


def test_a_hand_over_that_is_closed_inside_openssl(make_context) -> None:
    """By a callback: it is followed no further, and then OpenSSL logs its secrets."""
    server = make_context(True, version="1.3", prepared=True)
    waiting = HalfWay(make_context(False, version="1.3"), server)

    def on_message(_tls, direction, _version, content_type, message_type, _data) -> None:
        if (direction, content_type, message_type) == ("read", 22, CLIENT_HELLO):
            waiting.own.close()

    server._msg_callback = on_message
    with pytest.raises(OSError), waiting:
        pass
    server._msg_callback = None
    assert len(keylog.process_log().reader) == 0
    assert_nothing_is_left()


# -- many ------------------------------------------------------------------------------------------


def test_asyncio(make_context, version: str) -> None:
    client = make_context(False, version=version, prepared=True)
    server = make_context(True, version=version, prepared=True)
    lengths = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def main() -> None:
        listener = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server)
        address = listener.sockets[0].getsockname()
        async with listener:
            for _ in range(60):
                reader, writer = await asyncio.open_connection(
                    *address, ssl=client, server_hostname="localhost"
                )
                writer.write(b"echo")
                assert await reader.readexactly(4) == b"echo"
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
                lengths.append(os.stat(key_log_path()).st_size)

    asyncio.run(main())
    assert set(lengths) == {0}
    assert_nothing_is_left()


def test_a_hand_over_stays_half_way_meanwhile(make_context, version: str) -> None:
    """The file is cut all the same, and the lines of the one that waits are not lost."""
    server = make_context(True, version=version, prepared=True)
    client = make_context(False, version=version, prepared=True)
    with HalfWay(make_context(False, version=version), server) as waiting:
        for _ in range(100):
            MemoryPair(client, server).shake_hands()
        assert_nothing_is_left()
        waiting.finish()
        assert_ours(waiting.own)
        assert waiting.own.rx_mode is Mode.SW
        assert_nothing_is_left()


def test_threads_of_both_kinds(make_context, version: str) -> None:
    """Four take over and four do not, over the same contexts: no hand-over misses its lines."""
    server = make_context(True, version=version, prepared=True)
    client = make_context(False, version=version, prepared=True)
    theirs = make_context(False, version=version), make_context(True, version=version)

    def take_over(turn: int) -> None:
        for _ in range(15):
            with (
                pair(server, theirs[0], server_side=True)
                if turn % 2
                else pair(client, theirs[1], server_side=False) as (own, other)
            ):
                assert_ours(own)
                assert own.rx_mode is Mode.SW
                exchange(own, other, (100,))

    def leave(turn: int) -> None:
        for _ in range(60):
            ends = MemoryPair(client, server)
            if turn % 2:
                ends.shake_hands()
                ends.exchange()
            else:
                for end in (ends.client, ends.server):
                    with pytest.raises(ssl.SSLWantReadError):
                        end.do_handshake()

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(work, turn) for turn in range(4) for work in (take_over, leave)]
        for future in running:
            future.result()
    assert_nothing_is_left()
    assert len(keylog.process_log().reader) == 0


def test_replayed_client_hellos(make_context, version: str) -> None:
    """Stock handshakes under the random of a hand-over under way: it still finds its own lines."""
    server = make_context(True, version=version, prepared=True)
    with HalfWay(make_context(False, version=version), server) as waiting:
        for _ in range(50):
            incoming = ssl.MemoryBIO()
            incoming.write(waiting.hello)
            with pytest.raises(ssl.SSLWantReadError):
                server.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
            assert_nothing_is_left()
        waiting.finish()
        assert_ours(waiting.own)
    assert_nothing_is_left()


# -- what else must stay as it is --------------------------------------------------------------------


def test_users_own_file_is_left_byte_for_byte(make_context, version: str, tmp_path: Path) -> None:
    path, expected = tmp_path / "keys.log", tmp_path / "expected.log"
    client = make_context(False, version=version)
    server = make_context(True, version=version)
    client.keylog_filename, server.keylog_filename = str(path), str(expected)
    prepare(client)
    for _ in range(5):
        MemoryPair(client, server).shake_hands()
        with pair(client, server, server_side=False) as (own, _):
            assert_ours(own)
    one, two = path.read_bytes(), expected.read_bytes()
    assert sorted(one.splitlines()) == sorted(two.splitlines())
    assert b"\0" not in one
    assert os.stat(path).st_size == os.stat(expected).st_size


def test_keylog_filename_that_the_user_changed_later(make_context, tmp_path: Path) -> None:
    client = make_context(False, version="1.3", prepared=True)
    server = make_context(True, version="1.3")
    MemoryPair(client, server).shake_hands()
    client.keylog_filename = str(tmp_path / "keys.log")
    MemoryPair(client, server).shake_hands()
    before = (tmp_path / "keys.log").read_bytes()
    assert before.count(b"SECRET") == 5
    client.keylog_filename = None
    MemoryPair(client, server).shake_hands()
    assert (tmp_path / "keys.log").read_bytes() == before
    assert_nothing_is_left()


def test_they_look_like_those_of_ssl(make_context) -> None:
    client = make_context(False, prepared=True)
    server = make_context(True, prepared=True)
    ends = MemoryPair(client, server)
    near, far = tcp_pair()
    with near, far, client.wrap_socket(
        near, server_hostname="localhost", do_handshake_on_connect=False
    ) as tls:
        assert isinstance(tls, ssl.SSLSocket)
        assert repr(tls).startswith("<ssl.SSLSocket fd=")
        assert repr(ends.client).startswith("<ssl.SSLObject object at ")
        assert isinstance(ends.client, ssl.SSLObject)
    ends.shake_hands()
    assert type(ends.client) is type(ends.server) is ssl.SSLObject
    assert prepare(client).sslobject_class is prepare(server).sslobject_class


def test_bound_methods_live_on_after_the_handshake(make_context) -> None:
    """Event loops keep them."""
    ends = MemoryPair(make_context(False, prepared=True), make_context(True, prepared=True))
    write, read, again = ends.client.write, ends.server.read, ends.client.do_handshake
    ends.shake_hands()
    assert write(b"data") == 4
    assert read(10) == b"data"
    again()
    assert type(ends.client) is ssl.SSLObject


def test_a_signal_handler_that_raises(make_context) -> None:
    """In the middle of OpenSSL, when secrets are logged already."""
    client = make_context(False, version="1.3")
    server = make_context(True, version="1.3", prepared=True)

    def interrupt(_signal: int, _frame: Any) -> None:
        raise InterruptedError("by the signal handler")

    def on_message(_tls, direction, _version, content_type, message_type, _data) -> None:
        if (direction, content_type, message_type) == ("write", 22, 20):
            signal.raise_signal(signal.SIGUSR1)

    server._msg_callback = on_message
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        ends = MemoryPair(client, server)
        with pytest.raises(ssl.SSLWantReadError):
            ends.client.do_handshake()
        with pytest.raises((InterruptedError, ssl.SSLWantReadError)):
            ends.server.do_handshake()
        assert_nothing_is_left()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_forked_child_wipes_its_own(make_context) -> None:
    client = make_context(False, version="1.3", prepared=True)
    server = make_context(True, version="1.3", prepared=True)
    # Somebody's line, which only the parent may touch.
    unswept = make_context(False, version="1.3", prepared=True)
    unswept.sslobject_class = ssl.SSLObject
    MemoryPair(unswept, make_context(True)).shake_hands()
    path = keylog.process_log().path
    before = Path(path).read_bytes()
    assert before

    def work() -> None:
        for _ in range(5):
            MemoryPair(client, server).shake_hands()
        own = Path(keylog.process_log().path)
        assert str(own) != path
        assert own.read_bytes() == b""

    in_child(work)
    assert Path(path).read_bytes() == before
    MemoryPair(client, server).shake_hands()
    assert_nothing_is_left()


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]
