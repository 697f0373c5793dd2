"""Stock connections over prepared contexts leave nothing in the key log in memory: it never grows.

They are made by `wrap_bio`, as asyncio and others do, and by the context's own `wrap_socket`.
"""

import asyncio
import gc
import os
import signal
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from handover.memory_pair import (
    MemoryPair,
    assert_nothing_is_left,
    key_log_path,
    logged,
    secrets_in,
)
from handover.pairs import TIMEOUT, tcp_pair
from handover.test_fork import in_child
from ktls import prepare
from ktls.handover import keylog
from tls_records import split_records

SocketPair = tuple[ssl.SSLSocket, ssl.SSLSocket]

pytestmark = pytest.mark.usefixtures("empty_key_log")


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


def test_wrap_bio_leaves_nothing_in_the_key_log(
    make_context, version: str, server_side: bool, tmp_path: Path
) -> None:
    """The peer logs what there is to be found."""
    contexts = [make_context(side, version=version) for side in (False, True)]
    prepare(contexts[server_side])
    contexts[not server_side].keylog_filename = str(tmp_path / "keys.log")
    for _ in range(3):
        ends = MemoryPair(*contexts)
        ends.shake_hands()
        secrets = secrets_in(tmp_path / "keys.log")
        assert secrets
        left = logged()
        assert not any(secret.encode() in left for secret in secrets)
        assert_nothing_is_left()
        ends.exchange()
        assert_nothing_is_left()


def test_wrap_socket_leaves_nothing_in_the_key_log(
    make_context, version: str, server_side: bool
) -> None:
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


def test_accept_and_connect_leave_nothing_in_the_key_log(make_context, version: str) -> None:
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


def test_resumed_handshakes_leave_nothing_in_the_key_log(make_context, version: str) -> None:
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
def test_handshake_in_the_first_call_leaves_nothing_in_the_key_log(
    make_context, version: str, write: str, read: str
) -> None:
    """OpenSSL makes it in the first read or write."""
    client = make_context(False, version=version, prepared=True)
    server = make_context(True, version=version, prepared=True)
    one, two = stock_pair(client, server, at_once=False)
    with one, two, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(READS[read], two)
        WRITES[write](one)
        assert reading.result(TIMEOUT) in (4, b"data")
        assert_nothing_is_left()


def test_handshake_of_objects_leaves_nothing_in_the_key_log(make_context, version: str) -> None:
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


def test_failure_by_certificate_leaves_nothing_in_the_key_log(make_context, version: str) -> None:
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
            with pytest.raises(ssl.SSLError, match=r"(?i)unknown ca"):
                accepted.result(TIMEOUT).recv(1)
        assert_nothing_is_left()


def test_failure_by_broken_record_leaves_nothing_in_the_key_log(make_context) -> None:
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
def test_abandoned_handshakes_leave_nothing_in_the_key_log(
    make_context, version: str, steps: int
) -> None:
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


def test_asyncio_leaves_nothing_in_the_key_log(make_context, version: str) -> None:
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


def test_signal_handler_that_raises_leaves_nothing_in_the_key_log(make_context) -> None:
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


def test_forked_child_wipes_its_own_key_log(make_context) -> None:
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
