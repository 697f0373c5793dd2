"""`prepare`: what it sets, what it keeps, and what it says when that was changed."""

import errno
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from handover.pairs import TIMEOUT, assert_ours, exchange, pair, receive, tcp_pair
from ktls import HandoverError, Mode, TLSSocket, prepare, wrap_socket


def test_prepare_returns_the_same_context_and_is_idempotent(make_context) -> None:
    context = make_context(True)
    assert prepare(context) is context
    path = context.keylog_filename
    assert path is not None
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert prepare(context).keylog_filename == path
    assert prepare(make_context(False)).keylog_filename == path


@pytest.mark.parametrize("wrong", [None, "context", ssl, object()])
def test_prepare_takes_ssl_contexts_only(wrong: object) -> None:
    with pytest.raises(TypeError, match=rf"ssl\.SSLContext, not {type(wrong).__name__}"):
        prepare(wrong)


def test_wrap_socket_wants_a_context() -> None:
    near, far = tcp_pair()
    with near, far, pytest.raises(TypeError, match="SSLContext is needed, not str"):
        wrap_socket(near, "context")


@pytest.mark.parametrize("wrong", [None, 3, "socket"])
def test_wrap_socket_wants_a_socket(make_context, wrong: object) -> None:
    with pytest.raises(TypeError, match=f"socket is needed, not {type(wrong).__name__}"):
        wrap_socket(wrong, make_context(True, prepared=True), server_side=True)


def test_many_threads_prepare_one_context(make_context) -> None:
    context = make_context(True)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: prepare(context), range(64)))
    assert all(result is context for result in results)


@pytest.mark.parametrize("deferred", [False, True], ids=["at-once", "deferred"])
@pytest.mark.parametrize("change", ["keylog_filename", "options"])
def test_context_changed_after_prepare(
    make_context, tmp_path: Path, change: str, deferred: bool, server_side: bool
) -> None:
    """It is prepared again, and the log that the user set is his from then on."""
    context = make_context(server_side, prepared=True)
    stock = make_context(not server_side)
    path = tmp_path / "other.log"

    def name(is_server: bool) -> str | None:
        return None if is_server else "localhost"

    def wrapped(sock: socket.socket) -> TLSSocket:
        return wrap_socket(
            sock,
            context,
            server_side=server_side,
            server_hostname=name(server_side),
            do_handshake_on_connect=False,
        )

    near, far = tcp_pair()
    with near, far, ThreadPoolExecutor(1) as pool:
        if deferred:
            near = wrapped(near)
        if change == "options":
            context.options &= ~ssl.OP_NO_RENEGOTIATION
        else:
            context.keylog_filename = str(path)
        other = pool.submit(
            stock.wrap_socket,
            far,
            server_side=not server_side,
            server_hostname=name(not server_side),
        )
        with near if deferred else wrapped(near) as own:
            own.do_handshake()
            with other.result(TIMEOUT) as peer:
                assert_ours(own)
                exchange(own, peer, (100,))
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert path.exists() == (change == "keylog_filename")


def test_prepared_again_after_a_change(make_context, tmp_path: Path) -> None:
    context = make_context(True, prepared=True)
    context.keylog_filename = str(tmp_path / "keys.log")
    prepare(context)
    with pair(context, make_context(False), server_side=True) as (own, other):
        assert_ours(own)
        exchange(own, other, (100,))


def test_stock_use_of_a_prepared_context(make_context, version: str) -> None:
    server = make_context(True, version=version, prepared=True)
    client = make_context(False, version=version, prepared=True)
    near, far = tcp_pair()
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(server.wrap_socket, near, server_side=True)
        with client.wrap_socket(far, server_hostname="localhost") as one, accepted.result() as two:
            assert isinstance(one, ssl.SSLSocket)
            assert not isinstance(one, TLSSocket)
            one.sendall(b"stock")
            assert two.recv(10) == b"stock"


def test_users_key_log_is_kept(make_context, version: str, server_side: bool, tmp_path) -> None:
    """The log is what it would be without us: one line per secret, all of them, nothing else."""
    path = tmp_path / "keys.log"
    expected = tmp_path / "expected.log"
    ours = make_context(server_side, version=version)
    theirs = make_context(not server_side, version=version)
    ours.keylog_filename = str(path)
    theirs.keylog_filename = str(expected)
    prepare(ours)
    assert ours.keylog_filename == str(path)
    for _ in range(3):
        with pair(ours, theirs, server_side=server_side) as (own, other):
            assert_ours(own)
            exchange(own, other, (100,))
    assert sorted(path.read_text().splitlines()) == sorted(expected.read_text().splitlines())


@pytest.mark.parametrize("kind", ["fifo", "unlinked", "device"])
def test_users_key_log_that_cannot_be_read_back(make_context, tmp_path: Path, kind: str) -> None:
    context = make_context(True)
    path = tmp_path / "keys"
    reader = None
    if kind == "fifo":
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    context.keylog_filename = "/dev/null" if kind == "device" else str(path)
    if kind == "unlinked":
        path.unlink()
    prepare(context)
    try:
        with pair(context, make_context(False), server_side=True) as (own, other):
            assert own.mode is Mode.NONE
            assert "cannot be read back" in own.why
            assert context.keylog_filename in own.why
            exchange(own, other)
        if reader is not None:
            assert b"SERVER_TRAFFIC_SECRET_0" in os.read(reader, 65536)
    finally:
        if reader is not None:
            os.close(reader)


def test_a_key_log_that_can_be_read_by_now(make_context, tmp_path: Path) -> None:
    """A refusal is of the moment."""
    context = make_context(True)
    path = tmp_path / "keys"
    context.keylog_filename = str(path)
    path.rename(tmp_path / "away")
    prepare(context)
    with pair(context, make_context(False), server_side=True) as (own, other):
        assert "cannot be read back" in own.why
    (tmp_path / "away").rename(path)
    with pair(context, make_context(False), server_side=True) as (own, other):
        assert_ours(own)
        exchange(own, other)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"server_side": True, "server_hostname": "a"}, ValueError, "client mode"),
        ({"server_side": False}, ValueError, "check_hostname requires server_hostname"),
        ({"server_side": True, "session": object()}, ValueError, "client mode"),
    ],
)
def test_wrap_socket_checks_arguments_as_ssl(
    make_context, arguments: dict, error: type, words: str
) -> None:
    context = make_context(arguments["server_side"], prepared=True)
    near, far = tcp_pair()
    with near, far:
        with pytest.raises(error, match=words):
            wrap_socket(near, context, **arguments)
        assert near.fileno() >= 0


def test_datagram_socket_is_refused(make_context) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        pytest.raises(NotImplementedError, match="stream"),
    ):
        wrap_socket(sock, make_context(True, prepared=True), server_side=True)


@pytest.mark.parametrize("connected", [False, True], ids=["unconnected", "connected"])
def test_unix_socket_is_refused(make_context, connected: bool) -> None:
    near, far = socket.socketpair() if connected else (socket.socket(socket.AF_UNIX), None)
    with near, far or nullcontext():
        with pytest.raises(OSError, match="not a TCP socket: AF_UNIX, SOCK_STREAM") as caught:
            wrap_socket(near, make_context(True, prepared=True), server_side=True)
        assert caught.value.errno == errno.EINVAL
        assert near.fileno() >= 0
        if far is not None:
            far.setblocking(False)
            with pytest.raises(BlockingIOError):
                far.recv(1)


@pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
def test_closed_socket_is_refused(make_context, server_side: bool) -> None:
    sock = socket.socket()
    sock.close()
    name = None if server_side else "localhost"
    with pytest.raises(OSError, match="the socket is closed; pass an open one") as caught:
        wrap_socket(
            sock,
            make_context(server_side, prepared=True),
            server_side=server_side,
            server_hostname=name,
        )
    assert caught.value.errno == errno.EBADF


def test_descriptors_do_not_leak_from_refusals(make_context) -> None:
    context = make_context(True)
    near, far = tcp_pair()
    with near, far:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            with pytest.raises(HandoverError, match="not prepared"):
                wrap_socket(near, context, server_side=True)
            with pytest.raises(ValueError, match="client mode"):
                wrap_socket(near, prepare(make_context(True)), True, server_hostname="localhost")
        # Those of connections that other tests closed may have drained meanwhile.
        assert len(os.listdir("/proc/self/fd")) <= before
        near.sendall(b"still plain")
        assert far.recv(100) == b"still plain"


def test_stock_ssl_socket_is_refused(make_context) -> None:
    with pair(make_context(True, prepared=True), make_context(False), server_side=True) as (
        own,
        other,
    ):
        with pytest.raises(TypeError, match="plain socket"):
            wrap_socket(other, make_context(True, prepared=True), server_side=True)
        own.sendall(b"on")
        assert receive(other, 2) == b"on"


def test_context_may_be_changed_before_the_handshake(make_context) -> None:
    first = make_context(True, prepared=True)
    second = make_context(True, prepared=True, rsa=True)
    near, far = tcp_pair()
    own = wrap_socket(near, first, server_side=True, do_handshake_on_connect=False)
    with own:
        own.context = make_context(True)
        own.context = second
        with ThreadPoolExecutor(1) as pool:
            peer = pool.submit(make_context(False).wrap_socket, far, server_hostname="localhost")
            own.do_handshake()
            with peer.result(TIMEOUT) as other:
                assert_ours(own)
                assert own.context is second
                exchange(own, other, (10,))
