"""Calls whose result or exception is that of `ssl.SSLSocket`: each is made on both."""

import math
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

import ktls
from support.ends import connect


@pytest.fixture(autouse=True)
def _on() -> None:
    ktls.enable()


def outcome(call: Callable[[Any], Any], sock: Any) -> Any:
    """What a call returned, or the class of what it raised and its errno."""
    try:
        return call(sock)
    except OSError as error:
        return type(error), error.errno
    except Exception as error:
        return type(error)


def closed(sock: Any) -> Any:
    sock.close()
    return sock


OPEN: dict[str, Callable[[Any], Any]] = {
    "settimeout, under a nanosecond": lambda sock: (
        sock.settimeout(1e-12),
        sock.gettimeout(),
        sock.getblocking(),
    ),
    "settimeout, endless": lambda sock: sock.settimeout(math.inf),
    "settimeout, 1e10": lambda sock: sock.settimeout(1e10),
    "settimeout, no number": lambda sock: sock.settimeout(math.nan),
    "settimeout, text": lambda sock: sock.settimeout("x"),
    "setblocking, None": lambda sock: sock.setblocking(None),
    "setblocking, text": lambda sock: sock.setblocking("x"),
    "setblocking, a number": lambda sock: (sock.setblocking(2), sock.getblocking()),
    "shutdown, text": lambda sock: sock.shutdown("x"),
    "send, a flag of no meaning": lambda sock: sock.send(b"x", 1 << 40),
    "send, MSG_PEEK": lambda sock: sock.send(b"x", socket.MSG_PEEK),
    "send, MSG_EOR": lambda sock: sock.send(b"x", socket.MSG_EOR),
    "send, text for flags": lambda sock: sock.send(b"x", "x"),
    "sendall, MSG_PEEK": lambda sock: sock.sendall(b"x", socket.MSG_PEEK),
    "recv, text for flags": lambda sock: sock.recv(1, "x"),
    "recv_into, None": lambda sock: sock.recv_into(None),
    "recv_into, None, 3": lambda sock: sock.recv_into(None, 3),
    "read, text for a size": lambda sock: sock.read("x", bytearray(3)),
    "read, too much": lambda sock: sock.read(1 << 70, bytearray(3)),
    "read, too little": lambda sock: sock.read(-(1 << 70), bytearray(3)),
}
CLOSED: dict[str, Callable[[Any], Any]] = {
    "set_inheritable": lambda sock: sock.set_inheritable(True),
    "set_inheritable, not": lambda sock: sock.set_inheritable(False),
    "get_inheritable": lambda sock: sock.get_inheritable(),
    "getblocking": lambda sock: sock.getblocking(),
    "accept": lambda sock: sock.accept(),
    "detach": lambda sock: sock.detach(),
    "fileno": lambda sock: sock.fileno(),
}


@pytest.mark.parametrize("before", ["begun", "read"])
@pytest.mark.parametrize("call", OPEN.values(), ids=OPEN)
def test_open(call: Callable[[Any], Any], before: str) -> None:
    """As the first call after the handshake, and later."""
    said = []
    for kind in ("STOCK", "SW"):
        with connect(kind) as ends:
            if before == "read":
                ends.say(b"0")
                assert ends.own.recv(1) == b"0"
            ends.say(b"12345")
            said.append(outcome(call, ends.own))
    assert said[0] == said[1]


@pytest.mark.parametrize("call", CLOSED.values(), ids=CLOSED)
def test_closed(call: Callable[[Any], Any]) -> None:
    said = []
    for kind in ("STOCK", "SW"):
        with connect(kind) as ends:
            said.append(outcome(call, closed(ends.own)))
    assert said[0] == said[1]


def contexts() -> list[ssl.SSLContext]:
    """Stock and ours, of a server."""
    made = []
    for kind in (ssl.SSLContext, ktls.SSLContext):
        context = kind(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0
        made.append(context)
    return made


with_both = pytest.mark.parametrize("which", [0, 1], ids=["stock", "ours"])


@with_both
@pytest.mark.parametrize("polled", [False, True])
def test_a_socket_that_was_never_connected_is_detached(which: int, polled: bool) -> None:
    sock = contexts()[which].wrap_socket(socket.socket(), server_side=True)
    if polled:
        sock.fileno()
    number = sock.detach()
    with socket.socket(fileno=number) as plain:
        assert plain.type is socket.SOCK_STREAM
    assert sock.fileno() == sock.detach() == -1


@with_both
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("wrong", ["x", None, 1.5])
def test_server_side_is_a_number(which: int, wrong: Any, tcp_pair: Any) -> None:
    near, _ = tcp_pair
    with pytest.raises(TypeError):
        contexts()[which].wrap_socket(
            near, server_side=wrong, do_handshake_on_connect=False, server_hostname=None
        )


# -- a time-out is not waited for ------------------------------------------------------------------


@with_both
@pytest.mark.parametrize("shakes_hands", [True, False])
@pytest.mark.parametrize("kind", ["fresh", "listening"])
@pytest.mark.parametrize("timeout", [None, 0, 3600])
def test_what_is_not_connected_is_wrapped_at_once(
    which: int, shakes_hands: bool, kind: str, timeout: float | None
) -> None:
    with socket.socket() as sock:
        if kind == "listening":
            sock.bind(("127.0.0.1", 0))
            sock.listen()
        sock.settimeout(timeout)
        with contexts()[which].wrap_socket(
            sock, server_side=True, do_handshake_on_connect=shakes_hands
        ) as wrapped:
            assert wrapped.gettimeout() == timeout
