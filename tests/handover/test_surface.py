"""Nothing that a TLSSocket inherits reaches a descriptor.

Every method of `ssl.SSLSocket` and `socket.socket` is called, in each state that a socket may be
in: what TLSSocket does not define itself answers as that of a stock SSLSocket, and whatever is
called, no clear text arrives at a raw peer.
"""

import io
import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from handover.pairs import TIMEOUT, tcp_pair
from ktls import TLSSocket, wrap_socket

CLEAR = b"this must not be seen in clear text"

NAMES = sorted(
    name
    for name in {*dir(ssl.SSLSocket), *dir(socket.socket)}
    if not name.startswith("__") and callable(getattr(ssl.SSLSocket, name))
)
INHERITED = [name for name in NAMES if name not in vars(TLSSocket)]

STATES = ("connected", "unconnected", "listening", "closed")

NO_CALLS = {"_create"}
"""What makes a socket, of another one."""

OTHERWISE = {
    # Stock: AttributeError of None, nothing, and a descriptor without TLS.
    ("closed", "getpeercert"): OSError,
    ("closed", "_check_connected"): OSError,
    ("listening", "_accept"): OSError,
}
"""Where EBADF is the better answer."""


class RawPeer:
    """The other end: TLS by `ssl.SSLObject`, so that it sees each byte of the socket."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self.seen = b""
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                self.hear(self.sock.recv(65536))
            else:
                self.sock.sendall(self.outgoing.read())
                return

    def say(self, data: bytes) -> None:
        self.tls.write(data)
        self.sock.sendall(self.outgoing.read())

    def hear(self, data: bytes) -> None:
        self.seen += data
        self.incoming.write(data)

    def hear_the_rest(self) -> None:
        with suppress(ConnectionResetError):
            while data := self.sock.recv(65536):
                self.hear(data)


def arguments(name: str, tmp_path: Path, address: Any) -> list[tuple[Any, ...]]:
    """What the method is called with: each is a way to have CLEAR sent, where there is one."""
    path = tmp_path / "clear"
    path.write_bytes(CLEAR)
    fast_open = socket.MSG_FASTOPEN
    match name:
        case "send" | "sendall" | "write":
            return [(CLEAR,), (CLEAR, fast_open)] if name != "write" else [(CLEAR,)]
        case "sendto":
            return [(CLEAR, address), (CLEAR, 0, address), (CLEAR, fast_open, address)]
        case "sendmsg":
            return [([CLEAR],), ([CLEAR], [], fast_open, address)]
        case "sendmsg_afalg":
            return [([CLEAR],)]
        case "sendfile" | "_sendfile_use_send" | "_sendfile_use_sendfile":
            return [(path.open("rb"),)]
        case "_check_sendfile_params":
            return [(path.open("rb"), 0, None)]
        case "connect" | "connect_ex" | "bind":
            return [(address,)]
        case "_real_connect":
            return [(address, False)]
        case "recv_into" | "recvfrom_into":
            return [(bytearray(4),)]
        case "recvmsg_into":
            return [([bytearray(4)],)]
        case "recv" | "recvfrom" | "recvmsg" | "read":
            return [(4,)]
        case "getsockopt":
            return [(socket.SOL_SOCKET, socket.SO_TYPE)]
        case "setsockopt":
            return [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        case "settimeout":
            return [(5,)]
        case "setblocking":
            return [(True,)]
        case "set_inheritable":
            return [(False,)]
        case "shutdown":
            return [(socket.SHUT_WR,)]
        case _:
            return [()]


@contextmanager
def in_state(
    state: str, wrap: Callable[..., ssl.SSLSocket], make_context: Any
) -> Iterator[tuple[ssl.SSLSocket, RawPeer | None]]:
    client, server = make_context(False, prepared=True), make_context(True, prepared=True)
    with ExitStack() as stack:
        peer = None
        if state == "listening":
            sock = wrap(socket.create_server(("127.0.0.1", 0)), server, server_side=True)
            # So that accept does not wait for ever.
            sock.settimeout(0)
        elif state == "unconnected":
            sock = wrap(socket.socket(), client, server_hostname="localhost")
        else:
            near, far = tcp_pair()
            peer = RawPeer(stack.enter_context(far), server)
            with ThreadPoolExecutor(1) as pool:
                shaken = pool.submit(peer.shake_hands)
                sock = wrap(near, client, server_hostname="localhost")
                shaken.result(TIMEOUT)
            peer.say(b"said by the peer, several times over")
            sock.settimeout(0.2)
            if state == "closed":
                sock.close()
        with sock:
            yield sock, peer
        if peer is not None:
            peer.hear_the_rest()


def stock_wrap(sock: socket.socket, context: ssl.SSLContext, **options: Any) -> ssl.SSLSocket:
    return context.wrap_socket(sock, **options)


def answer(call: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    """The value, or its type where it is an object, or the type of the exception."""
    try:
        value = call(*given)
    except Exception as error:
        return type(error)
    finally:
        for each in given:
            if hasattr(each, "close"):
                each.close()
    plain = value is None or isinstance(value, int | str | tuple | list | dict)
    if isinstance(value, io.IOBase):
        value.close()
    return value if plain else type(value)


def test_something_is_inherited_and_something_is_not() -> None:
    assert {"cipher", "dup", "makefile", "recvmsg"} <= {*INHERITED}
    assert {"send", "sendto", "recv", "_real_connect", "_sendfile_use_sendfile"} <= {*NAMES} - {
        *INHERITED
    }


@pytest.mark.parametrize("name", INHERITED)
@pytest.mark.parametrize("state", STATES)
def test_what_is_inherited_answers_as_stock(
    make_context, tmp_path: Path, state: str, name: str
) -> None:
    def answers(wrap: Callable[..., ssl.SSLSocket]) -> list[Any]:
        with in_state(state, wrap, make_context) as (sock, _):
            several = arguments(name, tmp_path, ("127.0.0.1", 9))
            return [answer(getattr(sock, name), given) for given in several]

    for mine, other in zip(answers(wrap_socket), answers(stock_wrap), strict=True):
        expected = OTHERWISE.get((state, name), other)
        if isinstance(expected, type) and issubclass(expected, BaseException):
            assert issubclass(mine, expected)
        else:
            assert mine == expected


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NO_CALLS])
@pytest.mark.parametrize("state", STATES)
def test_no_method_sends_clear_text(make_context, tmp_path: Path, state: str, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.02)
        with in_state(state, wrap_socket, make_context) as (sock, peer):
            sock.do_handshake_on_connect = False
            for given in arguments(name, tmp_path, listener.getsockname()):
                answer(getattr(sock, name), given)
        heard = b"" if peer is None else peer.seen
        assert peer is None or heard
        with suppress(TimeoutError):
            while True:
                other, _ = listener.accept()
                with other:
                    other.settimeout(1)
                    with suppress(ConnectionResetError, TimeoutError):
                        while data := other.recv(65536):
                            heard += data
        assert CLEAR[:16] not in heard
        # Records from the first byte on, and nothing else.
        assert not heard or heard[0] in (20, 21, 22, 23)
