"""Forked children: their own key log, and no hand in the parent's connections."""

import os
import signal
import socket
import ssl
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from handover.pairs import TIMEOUT, assert_ours, exchange, pair, receive, tcp_pair
from ktls import prepare, wrap_socket
from ktls.handover import keylog


def in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked child; fail with its exit status when it fails."""
    pid = start_child(work)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def start_child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.alarm(TIMEOUT)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def test_child_cannot_send_on_the_parents_session(contexts, server_side: bool) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        exchange(own, other, (100,))

        def work() -> None:
            for call in (own.send, own.sendall, own.write):
                with pytest.raises(OSError, match=r"(?i)parent|fork|process"):
                    call(b"from the child")

        in_child(work)
        exchange(own, other, (100, 20_000))


def test_child_that_closes_its_copy_does_not_end_the_connection(
    contexts, server_side: bool
) -> None:
    ours, theirs = contexts
    with pair(ours, theirs, server_side=server_side) as (own, other):
        in_child(own.close)
        exchange(own, other, (100, 20_000))


def test_prefork_children_serve(make_context, version: str) -> None:
    """A context that was prepared in the parent serves in each of its children."""
    server = make_context(True, version=version, prepared=True)
    client = make_context(False, version=version)
    parents_path = server.keylog_filename
    children = 4
    turns = 5
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()

        def serve() -> None:
            assert server.keylog_filename != parents_path
            assert f"/proc/{os.getpid()}/" in server.keylog_filename
            tls = wrap_socket(listener, server, server_side=True)
            while True:
                own, _ = tls.accept()
                with own:
                    word = own.recv(100)
                    if word == b"stop":
                        own.sendall(b"stopping")
                        break
                    assert_ours(own)
                    own.sendall(f"{os.getpid()} {own.mode.name}".encode())
            assert len(keylog.process_log().reader) == 0

        pids = [start_child(serve) for _ in range(children)]

    def ask(word: bytes) -> bytes:
        sock = socket.create_connection(address, TIMEOUT)
        with client.wrap_socket(sock, server_hostname="localhost") as tls:
            tls.sendall(word)
            return tls.recv(100)

    answers = [ask(b"who").split() for _ in range(children * turns)]
    assert all(mode == b"SW" for _, mode in answers)
    assert {int(pid) for pid, _ in answers} <= set(pids)
    for _ in pids:
        assert ask(b"stop") == b"stopping"
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0


def test_parent_and_child_have_logs_of_their_own(make_context) -> None:
    context = make_context(True, prepared=True)
    parents = context.keylog_filename

    def work() -> None:
        assert context.keylog_filename != parents
        assert prepare(context).keylog_filename == keylog.process_log().path
        with pair(context, make_context(False), server_side=True) as (own, other):
            assert_ours(own)
            exchange(own, other, (100,))

    in_child(work)
    assert context.keylog_filename == parents
    with pair(context, make_context(False), server_side=True) as (own, other):
        assert_ours(own)
        exchange(own, other, (100,))


def test_users_key_log_in_a_child(make_context, tmp_path) -> None:
    context = make_context(True)
    context.keylog_filename = str(tmp_path / "keys.log")
    prepare(context)

    def work() -> None:
        with pair(context, make_context(False), server_side=True) as (own, other):
            assert_ours(own)
            exchange(own, other, (100,))

    in_child(work)
    work()
    assert (tmp_path / "keys.log").read_text().count("SERVER_TRAFFIC_SECRET_0") == 2


def test_fork_in_the_middle_of_a_handshake(make_context) -> None:
    """The child closes its copy and wipes nothing; the parent goes on."""
    near, far = tcp_pair()
    near.setblocking(False)
    own = wrap_socket(
        near,
        make_context(False, prepared=True),
        server_hostname="localhost",
        do_handshake_on_connect=False,
    )
    with own:
        with pytest.raises(ssl.SSLWantReadError):
            own.do_handshake()
        in_child(own.close)
        with make_context(True).wrap_socket(
            far, server_side=True, do_handshake_on_connect=False
        ) as far_end:
            far_end.settimeout(TIMEOUT)
            own.settimeout(TIMEOUT)
            with ThreadPoolExecutor(1) as pool:
                peer = pool.submit(far_end.do_handshake)
                own.do_handshake()
                peer.result(TIMEOUT)
            assert_ours(own)
            own.sendall(b"done")
            assert receive(far_end, 4) == b"done"
