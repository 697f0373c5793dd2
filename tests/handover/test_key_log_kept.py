"""What wiping the key log in memory leaves alone: users' classes and files, the manners of ssl."""

import inspect
import os
import socket
import ssl
from pathlib import Path

import pytest

from handover.memory_pair import MemoryPair, assert_nothing_is_left, logged, secrets_in
from handover.pairs import assert_ours, pair, tcp_pair
from ktls import prepare

pytestmark = pytest.mark.usefixtures("empty_key_log")


def test_what_a_class_of_the_users_own_leaves(make_context, version: str, tmp_path: Path) -> None:
    """It is kept; so this is what would lie there. The end of any other handshake wipes it."""
    client = make_context(False, version=version, prepared=True)
    server = make_context(True, version=version)
    server.keylog_filename = str(tmp_path / "keys.log")
    client.sslobject_class = ssl.SSLObject
    for turns in (1, 2):
        MemoryPair(client, server).shake_hands()
        secrets = secrets_in(tmp_path / "keys.log")
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


def test_methods_look_like_those_of_ssl(make_context) -> None:
    context = make_context(False, prepared=True)
    near, far = tcp_pair()
    with near, far, stock_client(context, near) as tls:
        other = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
        for one, kind in ((tls, ssl.SSLSocket), (other, ssl.SSLObject)):
            assert isinstance(one, kind)
            assert repr(one).startswith(f"<ssl.{kind.__name__} ")
            for name in ("do_handshake", "read", "write", "unwrap"):
                method, stock = getattr(type(one), name), getattr(kind, name)
                assert inspect.signature(method) == inspect.signature(stock)
    classes = context.sslobject_class, context.sslsocket_class
    prepare(context)
    assert classes == (context.sslobject_class, context.sslsocket_class)


def test_errors_of_the_key_log_are_those_of_ssl(make_context) -> None:
    context = make_context(False, prepared=True)
    near, far = tcp_pair()
    with near, far, stock_client(context, near) as tls:
        tls.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        with pytest.raises(ValueError, match="non-zero flags not allowed"):
            tls.send(b"data", 1)
        with pytest.raises(TypeError):
            tls.read("many")
        assert tls.unwrap.__doc__ == ssl.SSLSocket.unwrap.__doc__
    with pytest.raises(ValueError, match="closed or unwrapped"):
        tls.read()


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


def stock_client(context: ssl.SSLContext, sock: socket.socket) -> ssl.SSLSocket:
    """Before its handshake."""
    return context.wrap_socket(sock, server_hostname="localhost", do_handshake_on_connect=False)
