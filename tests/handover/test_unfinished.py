"""Calls on a connection whose handshake is under way, has failed, or is made by two threads."""

import contextlib
import errno
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

import ktls
from keyed_link import connected
from support.ends import AUTHORITY, client_context, prepared_context

TIMEOUT = 20
Use = Callable[[ktls.TLSSocket], Any]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = connected()
    near.settimeout(TIMEOUT)
    far.settimeout(TIMEOUT)
    with near, far:
        yield near, far


def accepted(sock: socket.socket, **options: Any) -> ktls.TLSSocket:
    return ktls.wrap_socket(sock, prepared_context(True), server_side=True, **options)


def shake_hands(sock: socket.socket) -> ssl.SSLSocket:
    return client_context().wrap_socket(sock, server_hostname="localhost")


# -- in a callback of the context ------------------------------------------------------------------

USES: dict[str, Use] = {
    "recv": lambda tls: tls.recv(1),
    "recv_into": lambda tls: tls.recv_into(bytearray(1)),
    "read": lambda tls: tls.read(1),
    "send": lambda tls: tls.send(b"x"),
    "sendall": lambda tls: tls.sendall(b"x"),
    "aio_write": lambda tls: tls.aio_write(b"x"),
    "cork": lambda tls: tls.cork(),
    "key_update": lambda tls: tls.key_update(),
    "unwrap": lambda tls: tls.unwrap(),
    "do_handshake": lambda tls: tls.do_handshake(),
    "verify_client_post_handshake": lambda tls: tls.verify_client_post_handshake(),
}


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("name", USES)
def test_use_in_an_sni_callback_is_refused(
    pair: tuple[socket.socket, socket.socket], name: str, blocking: bool
) -> None:
    near, far = pair
    raised: list[BaseException] = []

    def use(tls: ktls.TLSSocket, asked: str, context: ssl.SSLContext) -> None:
        tls.setblocking(blocking)
        try:
            USES[name](tls)
        except OSError as error:
            raised.append(error)
        finally:
            tls.settimeout(TIMEOUT)

    context = ktls.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("localhost").configure_cert(context)
    context.sni_callback = use  # type: ignore[assignment]  # the stub says a stock socket
    with ThreadPoolExecutor(1) as pool:
        client = pool.submit(shake_hands, far)
        with context.wrap_socket(near, server_side=True) as own, client.result() as peer:
            assert own.mode is own.rx_mode is ktls.Mode.SW
            own.sendall(b"after it")
            assert peer.recv(100) == b"after it"
            peer.sendall(b"both ways")
            assert own.recv(100) == b"both ways"
    assert [error.errno for error in raised if isinstance(error, OSError)] == [errno.EDEADLK]


# -- before its end --------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [False, True])
def test_unwrap_before_the_handshake_is_the_error_of_ssl(
    pair: tuple[socket.socket, socket.socket], begun: bool
) -> None:
    near, _ = pair
    with accepted(near, do_handshake_on_connect=False) as own:
        if begun:
            own.settimeout(0.05)
            with pytest.raises(TimeoutError):
                own.do_handshake()
            own.settimeout(TIMEOUT)
        with pytest.raises(ssl.SSLError, match="SHUTDOWN_WHILE_IN_INIT"):
            own.unwrap()


@pytest.mark.parametrize("server_side", [True, False])
def test_a_hello_that_cannot_be_sent_is_a_broken_pipe(
    pair: tuple[socket.socket, socket.socket], server_side: bool
) -> None:
    near, far = pair
    near.shutdown(socket.SHUT_WR)
    if server_side:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        far.sendall(outgoing.read())
        with pytest.raises(BrokenPipeError):
            accepted(near)
        return
    own = ktls.wrap_socket(
        near, prepared_context(False), server_hostname="localhost", do_handshake_on_connect=False
    )
    with own:
        for _ in range(2):
            with pytest.raises(BrokenPipeError):
                own.do_handshake()


# -- two threads -----------------------------------------------------------------------------------


@pytest.fixture
def _often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def unused(pool: ThreadPoolExecutor) -> tuple[ktls.TLSSocket, Future[ssl.SSLSocket]]:
    """A connection whose handshake its first use makes, and the client that waits for it."""
    near, far = connected()
    far.settimeout(TIMEOUT)
    near.settimeout(TIMEOUT)
    client = pool.submit(shake_hands, far)
    return accepted(near, do_handshake_on_connect=False), client


@pytest.mark.usefixtures("_often")
def test_two_threads_use_a_connection_first() -> None:
    with ThreadPoolExecutor(3) as pool:
        for _ in range(100):
            own, client = unused(pool)
            with own:
                for sent in [pool.submit(own.send, each) for each in (b"a", b"b")]:
                    assert sent.result() == 1
                with client.result() as peer:
                    received = b""
                    while len(received) < 2:
                        received += peer.recv(2)
                    assert sorted(received) == sorted(b"ab")


@pytest.mark.usefixtures("_often")
def test_a_close_beside_a_first_use_is_an_error_of_the_system() -> None:
    def used(own: ktls.TLSSocket) -> None:
        with contextlib.suppress(OSError):
            own.recv(1)
        repr(own)

    with ThreadPoolExecutor(3) as pool:
        for _ in range(100):
            own, client = unused(pool)
            using = pool.submit(used, own)
            closing = pool.submit(lambda own=own: (own.version(), own.close()))
            using.result()
            closing.result()
            with contextlib.suppress(OSError), client.result() as peer:
                peer.recv(1)


# -- a record that cannot be one -------------------------------------------------------------------


@pytest.mark.parametrize("cipher", ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256"])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 8, 15])
@pytest.mark.parametrize("content_type", [21, 23])
def test_a_record_shorter_than_its_iv_is_refused_at_once(
    make_context: Any, cipher: str, length: int, content_type: int
) -> None:
    """An alert in clear text, say, of a peer that has lost its keys."""
    server = make_context(True, version="1.2", ciphers=cipher, rsa=True, prepared=True)
    client = make_context(False, version="1.2")
    near, far = connected()
    near.settimeout(TIMEOUT)
    far.settimeout(TIMEOUT)
    with ThreadPoolExecutor(1) as pool:
        shaking = pool.submit(client.wrap_socket, far, server_hostname="localhost")
        with ktls.wrap_socket(near, server, server_side=True) as own, shaking.result() as peer:
            assert own.rx_mode is ktls.Mode.SW
            raw = os.dup(peer.fileno())
            os.write(raw, bytes([content_type, 3, 3, 0, length]) + bytes(length))
            with pytest.raises(ssl.SSLError):
                own.recv(1)
            with pytest.raises(ssl.SSLError, match="ALERT"):
                peer.recv(1)
            os.close(raw)
