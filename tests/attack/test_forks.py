"""A child never touches its parent's connections, whoever made it; it may make its own.

The stream of the parent is looked at afterwards: its bytes, both ways, and the flags of the socket
that both processes share.  What the child's hooks of Python do is in ``handover/test_fork.py``.
"""

import array
import contextlib
import errno
import fcntl
import gc
import os
import socket
import ssl
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import ktls
from full_link import until
from keyed_link import connected, parameters
from record_reader import SUITES, RecordReader, Secrets, read_data
from support.ends import (
    Call,
    Ends,
    client_context,
    connect,
    server_context,
    with_kinds,
    with_tls_kinds,
    wrap,
)
from support.forks import FORKS, outcome, run_in_fork, run_in_threads_fork
from support.programs import run_program

NOTHING = {"close", "abort", "drop"}
"""What a child may do; it does nothing."""

with_forks = pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)


def calls(ends: Ends) -> dict[str, Callable[[], Any]]:
    """All that a child could do with the connection, by name."""
    own = ends.own

    def sendfile() -> int:
        with open(sys.executable, "rb") as file:
            return own.sendfile(file, 0, 100_000)

    every: dict[str, Callable[[], Any]] = {
        "send": lambda: own.send(b"from the child"),
        "sendall": lambda: own.sendall(bytes(100_000)),
        "sendmsg": lambda: own.sendmsg([b"from ", b"the child"]),
        "sendfile": sendfile,
        "aio_write": lambda: own.aio_write(b"from the child"),
        "cork": lambda: own.cork().__enter__(),
        "recv": lambda: own.recv(10),
        "recv_into": lambda: own.recv_into(bytearray(10)),
        "flush": lambda: own.flush(1),
        "settimeout": lambda: own.settimeout(0),
        "setblocking": lambda: own.setblocking(False),
        "setsockopt": lambda: own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        "fileno": own.fileno,
        "shutdown": lambda: own.shutdown(socket.SHUT_RDWR),
    }
    if ends.kind == "KEYED":
        every["rekey"] = lambda: own.rekey(bytes(32))
        every["keys"] = lambda: own.setsockopt(
            ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(Secrets(SUITES[3]))
        )
    else:
        every["write"] = lambda: own.write(b"from the child")
        every["read"] = lambda: own.read(10)
        every["do_handshake"] = own.do_handshake
        every["key_update"] = own.key_update
        every["unwrap"] = own.unwrap
    return every


def refusals(ends: Ends) -> dict[str, str]:
    """Try all of it; what came of each, and of what ends a connection."""
    answers = {name: outcome(call) for name, call in calls(ends).items()}
    answers["abort"] = outcome(lambda: ends.own.abort())
    answers["detach"] = outcome(ends.own.detach)
    answers["close"] = outcome(ends.own.close)
    ends.own = None
    answers["drop"] = outcome(lambda: gc.collect() < 0 or None)
    return answers


def assert_refused(answers: dict[str, str]) -> None:
    done = {name: answers.pop(name) for name in NOTHING}
    assert done == dict.fromkeys(NOTHING, "returned None")
    assert answers.pop("detach") in ("EPERM", "returned -1")
    assert answers == dict.fromkeys(answers, "EPERM")


@contextlib.contextmanager
def untouched(ends: Ends) -> Iterator[None]:
    """The stream is whole, both ways, and the socket is as it was."""
    ends.own.sendall(b"before ")
    ends.own.flush()
    ends.say(b"for the parent alone")
    assert ends.receive_exactly(7) == b"before "
    before = state(ends.watch)
    yield
    assert state(ends.watch) == before
    assert ends.own.recv(20) == b"for the parent alone"
    ends.own.sendall(b"after")
    ends.say(b"the end")
    assert ends.own.recv(7) == b"the end"
    ends.own.close()
    assert ends.receive_all() == b"after"


def state(descriptor: int) -> tuple[int, int, int]:
    """Flags, unread bytes and an option of the socket that the processes share."""
    unread = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, unread)
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        keepalive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK, unread[0], keepalive


@pytest.fixture(params=["SW", "NONE", "KEYED"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    with connect(request.param, watch=True) as ends:
        yield ends


@with_forks
def test_a_child_is_refused_everything(ends: Ends, fork: Callable[[], int]) -> None:
    with untouched(ends):
        assert_refused(run_in_fork(lambda: refusals(ends), fork))


def test_a_child_of_a_thread_is_refused_everything(ends: Ends) -> None:
    with untouched(ends):
        assert_refused(run_in_threads_fork(lambda: refusals(ends)))


@with_forks
def test_a_child_is_told_whose_the_connection_is(ends: Ends, fork: Callable[[], int]) -> None:
    def words() -> str:
        try:
            ends.own.send(b"x")
        except OSError as error:
            return str(error)
        return "it was sent"

    assert f"belongs to process {os.getpid()}" in run_in_fork(words, fork)


@with_forks
def test_each_call_is_refused_in_a_child_of_its_own(ends: Ends, fork: Callable[[], int]) -> None:
    """None of them is refused only because another one was before it."""
    with untouched(ends):
        for name in calls(ends):
            answer = run_in_fork(lambda: outcome(calls(ends)[name]), fork)  # noqa: B023
            assert (name, answer) == (name, "EPERM")


@with_forks
def test_a_child_that_just_ends_leaves_the_connection(ends: Ends, fork: Callable[[], int]) -> None:
    def drop() -> str:
        ends.own = None
        gc.collect()
        return "dropped"

    with untouched(ends):
        assert run_in_fork(drop, fork) == "dropped"


@with_forks
@with_kinds
def test_futures_of_the_parent_in_a_child(kind: str, fork: Callable[[], int]) -> None:
    with connect(kind, small=True) as ends:
        futures = [ends.own.aio_write(bytes([number]) * 30_000) for number in range(50)]

        def ask() -> list[str]:
            asked = [outcome(lambda: futures[49].result(5)), outcome(futures[49].exception)]
            return [*asked, outcome(futures[49].cancel)]

        result, exception, cancelled = run_in_fork(ask, fork)
        assert (result, exception) == ("EPERM", "EPERM")
        assert cancelled in ("EPERM", "returned False")
        expected = b"".join(bytes([number]) * 30_000 for number in range(50))
        assert ends.receive_exactly(len(expected)) == expected
        assert [future.result(20) for future in futures] == [30_000] * 50


@with_forks
def test_a_child_makes_its_own_socket(fork: Callable[[], int]) -> None:
    """Workers and all: none of the parent's threads are there."""
    with connect("KEYED") as first:
        # The parent's workers run.
        first.own.sendall(bytes(1_000_000)[:10])
        near, far = connected()
        secrets = Secrets(SUITES[3])
        reading = Call(lambda: read_data(far, RecordReader(secrets)))

        def work() -> int:
            with ktls.Socket(near) as sock:
                sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))
                sock.sendall(bytes(3_000_000))
                return sock.aio_write(b"the end").result(10)

        assert run_in_fork(work, fork) == 7
        near.close()
        assert reading.result() == bytes(3_000_000) + b"the end"
        far.close()


@with_forks
@with_tls_kinds
def test_a_child_makes_a_handshake_of_its_own(kind: str, fork: Callable[[], int]) -> None:
    """With the context that the parent prepared and has used."""
    with connect(kind) as first, socket.create_server(("127.0.0.1", 0)) as listener:
        first.own.sendall(b"x")

        def serve() -> bytes:
            sock, _ = listener.accept()
            with server_context().wrap_socket(sock, server_side=True) as tls:
                data = b""
                while part := tls.recv(65536):
                    data += part
                return data

        serving = Call(serve)

        def work() -> str:
            sock = socket.create_connection(listener.getsockname(), 10)
            with wrap(kind, sock, False) as own:
                own.sendall(bytes(500_000))
                own.flush(10)
                return own.mode.name

        assert run_in_fork(work, fork) == kind
        assert serving.result() == bytes(500_000)


@pytest.mark.parametrize("how", ["close", "drop", "shutdown"])
@with_forks
def test_a_child_leaves_an_unfinished_handshake_to_its_parent(
    fork: Callable[[], int], how: str
) -> None:
    """The secrets are in the key log already, and the parent has not read them yet."""
    near, far = connected()
    far.settimeout(0.05)
    to_client, from_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(to_client, from_client, server_hostname="localhost")
    own = wrap("SW", near, True, do_handshake_on_connect=False)
    own.setblocking(False)

    def client_step() -> bool:
        with contextlib.suppress(TimeoutError):
            to_client.write(far.recv(65536))
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    client_step()
    far.sendall(from_client.read())
    until(lambda: outcome(own.do_handshake) == "WantReadError" and client_step())

    def work() -> str:
        nonlocal own
        if how == "close":
            own.close()
        elif how == "shutdown":
            with contextlib.suppress(OSError):
                own.shutdown(socket.SHUT_RDWR)
        own = None
        gc.collect()
        return "left"

    assert run_in_fork(work, fork) == "left"
    far.sendall(from_client.read())
    own.settimeout(20)
    own.do_handshake()
    with own, far:
        assert (own.mode, own.why) == (ktls.Mode.SW, "")
        own.sendall(b"sealed here")
        far.settimeout(20)
        to_client.write(far.recv(65536))
        assert client.read(100) == b"sealed here"


@with_kinds
@pytest.mark.parametrize("fork", FORKS)
def test_a_fork_in_a_signal_handler_while_sendall_waits(kind: str, fork: str) -> None:
    """The child comes back into the parent's call, and is refused there."""
    said = run_program("fork_in_handler", kind, fork).require_success()
    assert said.splitlines() == ["child EPERM", "parent sent 6000000", "peer got 6000000"]


@with_kinds
def test_forks_while_the_parent_sends(kind: str) -> None:
    """Children that close what they have, at any moment of a write."""
    data = os.urandom(8_000_000)
    with connect(kind, small=True) as ends:
        sending = Call(ends.own.sendall, data)
        reading = Call(ends.receive_exactly, len(data))
        forks = 0
        while sending.is_alive() or forks < 5:
            fork = FORKS["libc" if forks % 2 else "os.fork"]

            def work() -> str:
                answer = outcome(lambda: ends.own.send(b"from the child"))
                ends.own.close()
                return answer

            assert run_in_fork(work, fork) == "EPERM"
            forks += 1
        sending.result()
        assert reading.result() == data


@pytest.mark.rule("RFC 5288 3", "RFC 8446 5.3")
@pytest.mark.timeout(300)
def test_five_hundred_forks_under_load() -> None:
    """In every way there is; no pair of key and number seals twice, in whichever process."""
    forks = int(os.environ.get("KTLS_FORKS", "500"))
    said = run_program("forks_under_load", forks, timeout=280).require_success()
    assert said.splitlines()[-1] == f"{forks} forks, all records opened"


def test_a_child_after_its_parents_thread_died(ends: Ends) -> None:
    """The one that forks need not be the one that made the connection."""
    made: list[Ends] = []
    thread = threading.Thread(target=lambda: made.append(connect(ends.kind, watch=True)))
    thread.start()
    thread.join()
    with made[0] as other, untouched(other):
        assert_refused(run_in_fork(lambda: refusals(other)))


def test_a_refusal_is_a_permission_error(ends: Ends) -> None:
    def kind() -> list[str]:
        try:
            ends.own.send(b"x")
        except PermissionError as error:
            return [type(error).__name__, errno.errorcode[error.errno or 0]]
        return []

    assert run_in_fork(kind) == ["PermissionError", "EPERM"]
