"""Descriptors: how many a connection has, what is said when there are no more of them."""

import os
import socket
from typing import Any

import pytest

import ktls
from keyed_link import connected
from support import descriptors
from support.ends import (
    Call,
    connect,
    handshaken,
    keyed,
    server_context,
    with_kinds,
    with_tls_kinds,
    wrap,
)
from support.programs import run_program


@pytest.fixture(autouse=True)
def _warm() -> None:
    """What a process has once is there: workers, notifier, key log."""
    for kind in ("SW", "NONE", "KEYED"):
        with connect(kind) as ends:
            ends.own.fileno()
            ends.own.aio_write(b"x").result(20)
    descriptors.settled()


@with_kinds
def test_one_and_two_with_fileno(kind: str) -> None:
    before = descriptors.count()
    with connect(kind) as ends:
        # One is the peer's.
        assert descriptors.count() - before - 1 == 1
        ends.own.sendall(b"x")
        ends.own.aio_write(b"x").result(20)
        ends.say(b"y")
        assert ends.own.recv(1) == b"y"
        assert descriptors.count() - before - 1 == 1
        ends.own.fileno()
        assert descriptors.count() - before - 1 == 2
        assert ends.own.fileno() == ends.own.fileno()
        assert descriptors.count() - before - 1 == 2
    assert descriptors.count() == before


@with_kinds
def test_none_is_left_behind(kind: str) -> None:
    before = descriptors.count()
    for _ in range(30):
        with connect(kind) as ends:
            ends.own.fileno()
            ends.own.sendall(b"x")
            assert ends.receive_exactly(1) == b"x"
    assert descriptors.count() == before


@with_kinds
def test_three_hundred_connections_with_a_thousand_descriptors(kind: str) -> None:
    """A selector loop, as servers have it."""
    said = run_program("few_descriptors", "many", kind).require_success()
    assert said == "300 connections, each wrote and was polled\n"


@with_kinds
@pytest.mark.parametrize("call", ["wrap", "fileno"])
def test_too_many_open_files_are_named(kind: str, call: str) -> None:
    """EMFILE, and what was there goes on."""
    said = run_program("few_descriptors", call, kind).require_success()
    assert said == "EMFILE, then it went on\n"


@with_kinds
def test_asking_the_kernel_needs_none(kind: str) -> None:
    assert run_program("few_descriptors", "ask", kind).require_success() == "asked and answered\n"


def test_a_context_for_which_there_was_none_is_taken_over_later() -> None:
    assert run_program("few_descriptors", "prepare", "SW").require_success() == "taken over\n"


# -- the number from before ------------------------------------------------------------------------


def identity(number: int) -> tuple[int, int] | None:
    """What is open there, if anything is."""
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def taken(kind: str, near: socket.socket, far: socket.socket) -> tuple[Any, socket.socket]:
    """Our end, made of `near`, and the peer."""
    if kind == "KEYED":
        ends = keyed(near, far)
        return ends.own, ends.peer
    return handshaken(kind, near, far)


@with_kinds
def test_the_old_number_is_not_the_socket(kind: str) -> None:
    """What is written there reaches nobody in clear."""
    near, far = connected()
    far.settimeout(20)
    number, before = near.fileno(), identity(near.fileno())
    assert before is not None
    own, peer = taken(kind, near, far)
    with own, peer:
        assert identity(number) != before
        if identity(number) is None:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.write(number, b"CLEAR TEXT")
        own.sendall(b"sealed")
        own.close()
        data = b""
        while part := socket.socket.recv(peer, 65536):
            data += part
        assert data
        assert b"CLEAR" not in data
        assert b"sealed" not in data


@with_tls_kinds
def test_the_number_from_before_connect_is_not_the_socket(kind: str) -> None:
    """A client that wraps first and connects then."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> bytes:
            sock, _ = listener.accept()
            with server_context().wrap_socket(sock, server_side=True) as tls:
                return tls.recv(100)

        serving = Call(serve)
        raw = socket.socket()
        number = raw.fileno()
        with wrap(kind, raw, False) as own:
            own.connect(listener.getsockname())
            status = identity(number)
            assert status is None or not is_socket_of(number, own)
            own.sendall(b"sealed")
            assert serving.result() == b"sealed"


def is_socket_of(number: int, own: ktls.TLSSocket) -> bool:
    """Whether a descriptor is the connection's TCP socket."""
    try:
        with socket.socket(fileno=os.dup(number)) as sock:
            return sock.getsockname() == own.getsockname()
    except OSError:
        return False


@with_kinds
def test_a_number_given_anew_is_left_alone(kind: str) -> None:
    """Whoever gets the old number keeps what he opens, also when the connection closes."""
    near, far = connected()
    far.settimeout(20)
    number = near.fileno()
    own, peer = taken(kind, near, far)
    read_end, write_end = os.pipe()
    try:
        others = [os.dup(read_end) for _ in range(8)]
        own.sendall(b"x")
        own.close()
        peer.close()
        assert [identity(other) for other in others] == [identity(read_end)] * 8
        assert number in (*others, read_end, write_end) or identity(number) is None
        for other in others:
            os.close(other)
    finally:
        os.close(read_end)
        os.close(write_end)
