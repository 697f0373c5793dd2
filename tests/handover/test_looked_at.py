"""A connection whose handshake was not begun: looking at it begins nothing, here or in a child."""

import contextlib
import gc
import select
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import ktls
from support.ends import client_context, server_context
from support.forks import FORKS, run_in_fork, start_in_fork

TIMEOUT = 30
LOOKS: dict[str, Callable[[Any], Any]] = {
    "version": lambda sock: sock.version(),
    "cipher": lambda sock: sock.cipher(),
    "shared_ciphers": lambda sock: sock.shared_ciphers(),
    "compression": lambda sock: sock.compression(),
    "selected_alpn_protocol": lambda sock: sock.selected_alpn_protocol(),
    "session": lambda sock: sock.session,
    "session_reused": lambda sock: sock.session_reused,
    "get_channel_binding": lambda sock: sock.get_channel_binding(),
    "pending": lambda sock: sock.pending(),
    "getpeercert": lambda sock: sock.getpeercert(),
    "getpeercert, DER": lambda sock: sock.getpeercert(True),
}
OURS: dict[str, Callable[[Any], Any]] = {
    "get_verified_chain": lambda sock: sock.get_verified_chain(),
    "get_unverified_chain": lambda sock: sock.get_unverified_chain(),
    "flush": lambda sock: sock.flush(),
    "fileno": lambda sock: sock.fileno(),
    "select": lambda sock: select.select([sock], [], [], 0),
    "repr": repr,
    "mode": lambda sock: (sock.mode, sock.why, sock.rx_mode, sock.rx_why, sock.backend),
}


def lazy(context: ssl.SSLContext, *, stock: bool = False) -> tuple[Any, socket.socket]:
    """A server's end whose handshake was not begun, and the plain client."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        far = socket.create_connection(server.getsockname(), TIMEOUT)
        near, _ = server.accept()
    wrap = context.wrap_socket if stock else ktls.prepare(context) and _wrap(context)
    return wrap(near, server_side=True, do_handshake_on_connect=False), far


def _wrap(context: ssl.SSLContext) -> Callable[..., Any]:
    return lambda sock, **arguments: ktls.wrap_socket(sock, context, **arguments)


def outcome(call: Callable[[Any], Any], sock: Any) -> Any:
    try:
        return call(sock)
    except (OSError, ValueError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_answers_are_those_of_ssl_before_the_handshake(look: Callable[[Any], Any]) -> None:
    said = []
    for stock in (False, True):
        own, peer = lazy(server_context(), stock=stock)
        with own, peer:
            said.append(outcome(look, own))
    assert said[0] == said[1]


def greeted(plain: socket.socket) -> ssl.SSLSocket:
    """The client's end, whose hello is on its way."""
    plain.setblocking(False)
    sock = client_context().wrap_socket(
        plain, server_hostname="localhost", do_handshake_on_connect=False
    )
    with pytest.raises(ssl.SSLWantReadError):
        sock.do_handshake()
    sock.settimeout(TIMEOUT)
    return sock


def everything(sock: ssl.SSLSocket) -> bytes:
    """What the client gets, from the handshake to the end."""
    sock.do_handshake()
    return b"".join(iter(lambda: sock.recv(100), b""))


with_looks = pytest.mark.parametrize("look", (LOOKS | OURS).values(), ids=LOOKS | OURS)


@with_looks
def test_it_goes_on_here(look: Callable[[Any], Any]) -> None:
    own, peer = lazy(server_context())
    with own, greeted(peer) as client:
        outcome(look, own)
        assert "not finished" in own.why
        own.settimeout(TIMEOUT)
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(everything, client)
            own.sendall(b"hello")
            own.shutdown(socket.SHUT_WR)
            assert reading.result(TIMEOUT) == b"hello"


@with_looks
def test_a_child_is_the_one_to_use_it(look: Callable[[Any], Any]) -> None:
    own, peer = lazy(server_context())
    with own, greeted(peer) as client:
        outcome(look, own)

        def use() -> str:
            own.settimeout(TIMEOUT)
            own.sendall(b"hello")
            own.close()
            return own.why

        end = start_in_fork(use)
        own.close()
        assert everything(client) == b"hello"
        assert end() == "closed"


@pytest.mark.parametrize("end", ["close", "drop"])
@pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)
def test_the_parents_end_says_nothing(fork: Callable[[], int], end: str) -> None:
    """It was polled until the client's hello came, which is the child's to read."""
    own, peer = lazy(server_context())
    held = [own]
    del own
    word, whose = socket.socketpair()
    with word, whose, greeted(peer) as client:
        assert select.select(held, [], [], TIMEOUT)[0]

        def use() -> list[Any]:
            assert word.recv(1)
            sock = held[0]
            address = sock.getpeername()
            sock.settimeout(TIMEOUT)
            assert select.select([sock], [], [], TIMEOUT)[0]
            sock.sendall(b"hello")
            sock.close()
            return list(address)

        wait = start_in_fork(use, fork)
        with pytest.warns(ResourceWarning) if end == "drop" else contextlib.nullcontext():
            if end == "close":
                held[0].close()
            held.clear()
            gc.collect()
        whose.send(b"x")
        assert everything(client) == b"hello"
        assert wait() == list(client.getsockname())


def test_what_was_begun_stays_the_parents() -> None:
    own, peer = lazy(server_context())
    own.settimeout(0)
    with own, greeted(peer):
        with pytest.raises(ssl.SSLWantReadError):
            own.do_handshake()

        def use() -> str:
            with pytest.raises(PermissionError, match="belongs to process"):
                own.recv(1)
            return "refused"

        assert run_in_fork(use) == "refused"
