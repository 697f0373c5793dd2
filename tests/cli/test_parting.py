"""How the server parts with clients: the answer arrives, no client is waited for in vain, and one
that leaves at any moment is worth a line at most."""

import contextlib
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.server_process import (
    ServerProcess,
    ask,
    client_context,
    connect,
    eventually,
    write_random,
)
from cli.test_clients import reset

FILE_SIZE = 3_000_000
LAST = b"GET /file.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
MORE = b"GET /file.bin HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_random(tmp_path / "file.bin", FILE_SIZE)
    return tmp_path


def body(client: ssl.SSLSocket, pause_s: float = 0.0) -> bytes:
    """What arrives behind one header, to the close_notify."""
    client.suppress_ragged_eofs = False
    answer = bytearray()
    while chunk := client.recv(65536):
        answer += chunk
        time.sleep(pause_s)
    return bytes(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.rule("RFC 9112 9.6")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("rcvbuf", [None, 4096])
def test_what_follows_the_last_request_costs_no_answer(
    start: Callable[..., ServerProcess],
    authority: object,
    directory: Path,
    version: str,
    rcvbuf: int | None,
) -> None:
    """RFC 9112 §9.6: unread bytes at the close would make the kernel reset the connection."""
    server = start(directory, "--tls", version)
    with connect(server, client_context(authority.root), rcvbuf=rcvbuf) as client:
        client.sendall(LAST + MORE * (200_000 // len(MORE)))
        assert body(client, 0.002) == (directory / "file.bin").read_bytes()
    assert [line.trouble for line in server.responses()] == [""]


def test_what_follows_the_last_request_costs_no_answer_of_openssl(
    start: Callable[..., ServerProcess],
    authority: object,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KTLS_SYSCTL", "kern.ipc.tls.cbc_enable=0")
    server = start(directory, "--tls", "1.2")
    context = client_context(authority.root)
    context.set_ciphers("ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384")
    with connect(server, context) as client:
        client.sendall(LAST + MORE * (200_000 // len(MORE)))
        assert body(client, 0.002) == (directory / "file.bin").read_bytes()
    assert [(line.mode, line.trouble) for line in server.responses()] == [("NONE", "")]


def test_client_that_takes_long_gets_all_of_it(
    start: Callable[..., ServerProcess], authority: object, directory: Path
) -> None:
    """Longer than anybody is waited for who has it all."""
    server = start(directory)
    with connect(server, client_context(authority.root), rcvbuf=4096) as client:
        client.sendall(LAST + MORE * (200_000 // len(MORE)))
        first = client.recv(20_000)
        for _ in range(40):
            time.sleep(0.25)
            first += client.recv(20_000)
        rest = b"".join(iter(lambda: client.recv(65536), b""))
    data = (directory / "file.bin").read_bytes()
    assert (first + rest).endswith(data)


def test_refused_upload_that_nobody_reads(
    start: Callable[..., ServerProcess], authority: object, directory: Path
) -> None:
    """The client looks for an answer only when it has sent everything."""
    server = start(directory)
    with connect(server, client_context(authority.root)) as client:
        client.sendall(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n")
        client.sendall(bytes(4_000_000))
        time.sleep(0.5)
        assert body(client) == b"405 Method Not Allowed\n"


def test_answer_under_way_survives_the_end_of_the_server(
    start: Callable[..., ServerProcess], authority: object, directory: Path
) -> None:
    server = start(directory)
    with connect(server, client_context(authority.root)) as client:
        client.sendall(LAST + MORE * (200_000 // len(MORE)))
        # Sent, says the server: to the kernel.
        while not server.responses():
            client.recv(16384)
        ending = threading.Thread(target=server.end)
        ending.start()
        client.suppress_ragged_eofs = False
        while client.recv(65536):
            pass
        ending.join()
    assert server.noted == []


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, authority: object) -> Iterator[ServerProcess]:
    """One server for all who leave; what it notes of each is a line with an address."""
    directory = tmp_path_factory.mktemp("shared")
    write_random(directory / "file.bin", FILE_SIZE)
    server = ServerProcess(directory, authority.server)
    yield server
    assert server.end() == 0
    assert server.noted
    assert all(re.match(r"127\.0\.0\.1:\d+: |dropped ", line) for line in server.noted)


def gives_up(server: ServerProcess, threads: int) -> None:
    eventually(lambda: server.thread_count() <= threads)


@pytest.mark.parametrize("pace", ["silent", "a byte now and then", "as fast as it can"])
def test_client_that_stays_is_given_up(
    start: Callable[..., ServerProcess], authority: object, directory: Path, pace: str
) -> None:
    server = start(directory)
    context = client_context(authority.root)
    with connect(server, context) as client:
        ask(client, "/", "Connection: close")
        body(client)
    eventually(lambda: len(server.responses()) == 1)
    time.sleep(0.2)
    threads = server.thread_count()
    with connect(server, context) as client:
        ask(client, "/", "Connection: close")
        sent_size = 0
        data = {"silent": b"", "a byte now and then": b"x"}.get(pace, bytes(65536))
        pause_s = 0.2 if len(data) <= 1 else 0
        eventually(lambda: len(server.responses()) == 2)
        while server.thread_count() > threads:
            try:
                client.sendall(data)
                sent_size += len(data)
            except OSError:
                break
            time.sleep(pause_s)
            assert sent_size < 64 << 20
        gives_up(server, threads)
    assert server.noted == []


@pytest.mark.parametrize(
    "sent",
    [
        None,
        b"",
        b"GET /file.b",
        b"GET /file.bin HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /file.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"PUT /file.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
@pytest.mark.parametrize("how", ["reset", "close", "unwrap", "garbage"])
def test_client_that_leaves_is_no_traceback(
    shared: ServerProcess, authority: object, sent: bytes | None, how: str
) -> None:
    server = shared
    context = client_context(authority.root)
    client: socket.socket
    if sent is None:
        client = socket.create_connection(server.address)
        client.sendall(b"\x16\x03\x01\x02\x00\x01")
    else:
        client = connect(server, context, rcvbuf=4096)
        client.sendall(sent)
    if how == "unwrap" and isinstance(client, ssl.SSLSocket):
        client.settimeout(0)
        with contextlib.suppress(OSError):
            client.unwrap()
    if how == "garbage":
        with socket.socket(fileno=os.dup(client.fileno())) as plain:
            plain.sendall(b"\x17\x03\x03\x00\x40" + bytes(64))
    if how == "reset":
        reset(client)
    client.close()
    # Whoever comes next is served.
    with connect(server, context) as other:
        other.sendall(LAST)
        assert len(body(other)) == FILE_SIZE
