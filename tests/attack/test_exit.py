"""The end of the interpreter: what was accepted is sent, what cannot be sent is said."""

import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from record_reader import SUITES, RecordReader, Secrets, read_data
from support.ends import AUTHORITY, server_context, with_all_kinds
from support.programs import (
    Outcome,
    ended_with_the_test,
    finished,
    run_program,
    start_program,
)

TIMEOUT = 40
ALL_KINDS = ("SW", "NONE", "KEYED", "STOCK")
LINES = b"".join(b"line %05d\n" % number for number in range(2000))
WORK = {"lines": LINES, "large": b"q" * 8_000_000}


class Peer:
    """A server that a program connects to, and what arrives there."""

    def __init__(self, directory: Path) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(TIMEOUT)
        self.port = self._server.getsockname()[1]
        self.certificates = directory / "certificates.pem"
        AUTHORITY.cert_pem.write_to_path(self.certificates)

    def accept(self, kind: str) -> socket.socket:
        sock, _ = self._server.accept()
        sock.settimeout(TIMEOUT)
        if kind == "KEYED":
            return sock
        try:
            return server_context().wrap_socket(sock, server_side=True)
        except BaseException:
            sock.close()
            raise

    def receive_all(self, kind: str, sock: socket.socket, *, cut_off: bool = False) -> bytes:
        with sock:
            if kind == "KEYED":
                secrets = Secrets(SUITES[3])
                secrets.key, secrets.iv, secrets.sequence = bytes(16), bytes(12), 0
                return read_data(sock, RecordReader(secrets), cut_off=cut_off)
            parts = []
            try:
                while part := sock.recv(1 << 18):
                    parts.append(part)
            except ssl.SSLEOFError:
                pass
            return b"".join(parts)

    def close(self) -> None:
        self._server.close()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path)
    yield peer
    peer.close()


def run(
    peer: Peer, kind: str, work: str, *arguments: object, **environment: str
) -> tuple[Outcome, bytes]:
    """A program that works on one connection, and all that arrives from it."""
    process = start_program(
        "at_exit", kind, peer.port, peer.certificates, work, *arguments, **environment
    )
    with ended_with_the_test(process):
        data = peer.receive_all(kind, peer.accept(kind))
    return finished(process, TIMEOUT), data


@pytest.mark.parametrize("kind", ALL_KINDS)
@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("end", ["close", "leave"])
def test_a_late_exit_handler_is_heard(peer: Peer, kind: str, work: str, end: str) -> None:
    """Registered before ktls was imported, it runs after everything of ktls."""
    outcome, data = run(peer, kind, f"late-{work}", end)
    assert outcome.require_success() == "connected\nhandler done\n"
    assert data == WORK[work]


@pytest.mark.parametrize("kind", ["SW", "NONE", "KEYED"])
def test_a_late_asynchronous_write_is_sent_or_raises(peer: Peer, kind: str) -> None:
    outcome, data = run(peer, kind, "late-aio")
    said = outcome.require_success().splitlines()
    accepted = int(said[-1])
    assert len(said) == 2
    assert data == b"a" * accepted


@pytest.mark.parametrize("kind", ["SW", "NONE", "KEYED"])
def test_a_late_write_that_does_not_wait_is_sent_or_raises(peer: Peer, kind: str) -> None:
    """Non-blocking, in a handler after everything of ktls: what send returned arrives."""
    outcome, data = run(peer, kind, "late-nonblocking")
    accepted = int(outcome.require_success().splitlines()[-1])
    assert accepted > 0
    assert data == b"n" * accepted


@pytest.mark.parametrize("kind", ["SW", "NONE", "KEYED"])
def test_a_late_new_connection_works(peer: Peer, kind: str) -> None:
    """A handshake and a write, first of all in such a handler."""
    outcome, data = run(peer, kind, "late-connection")
    outcome.require_success()
    assert data == LINES


@pytest.mark.parametrize("kind", ["SW", "KEYED"])
def test_a_cold_file_counts_as_work(peer: Peer, kind: str, tmp_path: Path) -> None:
    """sendfile of what is not in memory returns before the file is read."""
    path = tmp_path / "cold"
    data = os.urandom(1 << 20) * 30
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    outcome, received = run(
        peer,
        kind,
        "file",
        path,
        KTLS_SYSCTL="kern.ipc.tls.flush_unit=1048576,kern.ipc.tls.sendspace=67108864,"
        "kern.ipc.tls.sendspace_max=67108864",
    )
    accepted = int(outcome.require_success().splitlines()[-1])
    assert accepted > 1 << 20
    assert received == data[:accepted]


@pytest.mark.parametrize("kind", ["SW", "NONE", "KEYED"])
def test_what_is_left_unsent_is_counted_in_a_warning(peer: Peer, kind: str) -> None:
    """Bytes and connections."""
    process = start_program(
        "at_exit",
        *(kind, peer.port, peer.certificates, "stuck", 3),
        options=("-W", "always"),
        KTLS_SYSCTL="kern.ipc.tls.close_timeout=1",
    )
    with ended_with_the_test(process):
        peers = [peer.accept(kind) for _ in range(3)]
    outcome = finished(process, TIMEOUT)
    accepted = int(outcome.require_success().splitlines()[-1])
    for sock in peers:
        sock.close()
    warning = re.search(r"ResourceWarning: (.*bytes.*)", outcome.errors)
    assert warning, outcome.errors
    bytes_left = re.search(r"([\d_,]+) bytes", warning[1])
    connections = re.search(r"(\d+) connections", warning[1])
    assert bytes_left, warning[1]
    assert connections, warning[1]
    # With the bytes of records, of which OpenSSL's are all that it counts.
    assert 0 < int(re.sub("[_,]", "", bytes_left[1])) < accepted * 1.1
    assert connections[1] == "3"


@pytest.mark.parametrize("kind", ["SW", "NONE", "KEYED"])
def test_a_thread_that_writes_on_to_the_end(peer: Peer, kind: str) -> None:
    """A daemon thread in sendall does not hold up the exit; the process ends it in any record."""
    process = start_program("at_exit", kind, peer.port, peer.certificates, "daemon")
    with ended_with_the_test(process):
        data = peer.receive_all(kind, peer.accept(kind), cut_off=True)
    outcome = finished(process, TIMEOUT)
    assert outcome.status == 0, outcome.errors
    assert "panicked" not in outcome.errors
    assert data == b"d" * len(data)


@pytest.mark.parametrize("kind", ["SW", "NONE", "KEYED"])
@pytest.mark.parametrize("how", ["exit", "error", "cycle"])
def test_accepted_bytes_arrive_however_the_program_ends(peer: Peer, kind: str, how: str) -> None:
    outcome, data = run(peer, kind, f"end-{how}")
    assert outcome.status == (1 if how == "error" else 0)
    accepted = int(outcome.said.splitlines()[-1])
    assert data == b"e" * accepted


@pytest.mark.parametrize("kind", ["SW", "NONE", "KEYED"])
@pytest.mark.parametrize("end", ["leave", "drop"])
def test_something_unread_costs_nothing_that_was_accepted(peer: Peer, kind: str, end: str) -> None:
    """The kernel resets a socket that ends with something unread, such as a ticket of TLS 1.3."""
    process = start_program("at_exit", kind, peer.port, peer.certificates, f"unread-{end}")
    with ended_with_the_test(process):
        sock = peer.accept(kind)
        sock.sendall(b"unread")
        # Long enough for the program to end; the kernel holds most of its data by then.
        time.sleep(1)
        data = peer.receive_all(kind, sock)
    outcome = finished(process, TIMEOUT)
    assert outcome.status == 0, outcome.errors
    assert data == b"u" * 1_000_000


@pytest.mark.parametrize("kind", ["SW", "NONE", "STOCK"])
@pytest.mark.parametrize("call", ["recv", "recv_into", "unwrap"])
def test_a_connection_may_be_used_while_the_interpreter_ends(kind: str, call: str) -> None:
    done = run_program("received_at_exit", kind, call, options=("-W", "ignore"))
    assert (done.status, done.errors) == (0, "")


@with_all_kinds
@pytest.mark.parametrize("where", ["module", "builtins", "cycle", "late"])
def test_a_connection_that_is_left_open_is_warned_of(kind: str, where: str) -> None:
    """`late`: there is nobody left to warn."""
    done = run_program("left_open", kind, where, options=("-W", "default::ResourceWarning"))
    assert done.require_success() == ""
    assert "Traceback" not in done.errors
    if where != "late":
        assert "ResourceWarning: unclosed <" in done.errors
