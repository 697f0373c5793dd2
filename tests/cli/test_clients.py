"""Clients that misbehave: the others do not notice, memory is bounded, no thread is lost.

The bound that is stated and asserted: a client that does not read costs at most CLIENT_SIZE.
"""

import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import curl
from cli.server_process import (
    PATIENCE_S,
    ServerProcess,
    ask,
    client_context,
    connect,
    eventually,
    write_random,
)

CLIENT_SIZE = 640 * 1024
"""A flush unit or two of ciphertext, OpenSSL's state, a thread's stack: bytes per slow client."""
BASE_SIZE = 32 << 20
"""What the server's memory may grow by beside, as its allocators please."""
FILE_SIZE = 10_000_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_random(tmp_path / "file.bin", FILE_SIZE)
    return tmp_path


def assert_served(server: ServerProcess, authority: object, directory: Path) -> None:
    """Somebody else gets the file, whole."""
    reply = curl(authority, server.url + "file.bin?other")
    assert reply.body == (directory / "file.bin").read_bytes()


def took_byte_by_byte(
    server: ServerProcess, context: ssl.SSLContext, done: threading.Event
) -> bytes:
    """The file, fetched by a client that takes a byte per second off TCP until `done`."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(PATIENCE_S)
        sock.connect(server.address)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        tls.write(b"GET /file.bin?trickle HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        sock.sendall(outgoing.read())
        while not done.wait(1):
            incoming.write(sock.recv(1))
        while chunk := sock.recv(65536):
            incoming.write(chunk)
    incoming.write_eof()
    answer = b"".join(iter(lambda: tls.read(1 << 20), b""))
    return answer.partition(b"\r\n\r\n")[2]


def reset(sock: socket.socket) -> None:
    """Vanish: a reset instead of a goodbye."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.large
@pytest.mark.timeout(150)
def test_others_do_not_notice_the_slow_the_gone_and_the_mad(
    start: Callable[..., ServerProcess], authority: object, directory: Path
) -> None:
    server = start(directory)
    context = client_context(authority.root)
    data = (directory / "file.bin").read_bytes()
    assert_served(server, authority, directory)
    threads, descriptors = server.thread_count(), server.descriptor_count()
    memory = server.rss_size()
    done = threading.Event()
    received, trickled = bytearray(), bytearray()

    def crawl() -> None:
        with connect(server, context, rcvbuf=4096) as client:
            ask(client, "/file.bin?slow")
            with client.makefile("rb", buffering=0) as reader:
                head = bytearray()
                while not head.endswith(b"\r\n\r\n"):
                    head += reader.read(1)
                for _ in range(60):
                    received.extend(reader.read(1))
                    done.wait(1)
        done.set()

    def trickle() -> None:
        trickled.extend(took_byte_by_byte(server, context, done))

    slow = [threading.Thread(target=crawl), threading.Thread(target=trickle)]
    for thread in slow:
        thread.start()
    rounds = 0
    while not done.wait(2):
        rounds += 1
        silent = socket.create_connection(server.address)
        mad = socket.create_connection(server.address)
        mad.sendall(os.urandom(3000))
        # A record header that promises more than comes.
        half = socket.create_connection(server.address)
        half.sendall(b"\x16\x03\x01\x40\x00" + os.urandom(100))
        gone = connect(server, context)
        ask(gone, "/file.bin?gone")
        assert gone.recv(100_000)
        reset(gone)
        assert_served(server, authority, directory)
        for client in (silent, mad, half):
            client.close()
        assert server.rss_size() < memory + BASE_SIZE + 6 * CLIENT_SIZE
    for thread in slow:
        thread.join()
    assert rounds >= 10
    assert bytes(received) == data[:60]
    assert bytes(trickled) == data
    eventually(lambda: server.thread_count() <= threads)
    eventually(lambda: server.descriptor_count() <= descriptors)
    assert len(server.responses("/file.bin?other")) == rounds + 1
    assert all(not line.trouble for line in server.responses("/file.bin?other"))
    assert all("Traceback" not in line for line in server.noted)


def test_slow_clients_cost_a_bounded_memory(
    start: Callable[..., ServerProcess], authority: object, directory: Path
) -> None:
    server = start(directory)
    context = client_context(authority.root)
    assert_served(server, authority, directory)
    threads, memory = server.thread_count(), server.rss_size()
    clients = []
    for _ in range(100):
        client = connect(server, context, rcvbuf=4096)
        ask(client, "/file.bin")
        clients.append(client)
    assert_served(server, authority, directory)
    # That of the one who was served may not have ended when the threads were counted.
    eventually(lambda: server.thread_count() >= threads + len(clients) - 1)
    grown = server.rss_size() - memory
    assert grown < BASE_SIZE + len(clients) * CLIENT_SIZE
    for client in clients:
        reset(client)
    eventually(lambda: server.thread_count() <= threads)


def test_vanishing_client_is_reported(
    start: Callable[..., ServerProcess], authority: object, directory: Path
) -> None:
    server = start(directory)
    client = connect(server, client_context(authority.root), rcvbuf=4096)
    ask(client, "/file.bin")
    assert client.recv(1000)
    reset(client)
    assert "broke off" in server.response("/file.bin").trouble


def test_handshake_has_a_time_limit(
    start: Callable[..., ServerProcess], authority: object, directory: Path
) -> None:
    server = start(directory, "--handshake-timeout", "3")
    with socket.create_connection(server.address, PATIENCE_S) as silent:
        assert silent.recv(1) == b""
    eventually(lambda: any("no handshake" in line for line in server.noted))
    assert_served(server, authority, directory)


def test_dribbled_handshake_has_the_same_limit(
    start: Callable[..., ServerProcess], directory: Path
) -> None:
    server = start(directory, "--handshake-timeout", "1")
    promised = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
    with socket.create_connection(server.address, 0.2) as client:
        for position in range(100):
            try:
                client.sendall(promised[position : position + 1])
                assert client.recv(1) == b""
                return
            except TimeoutError:
                continue
            except ConnectionError:
                return
    pytest.fail("the server went on listening to a handshake of a byte at a time")


def test_dribbled_request_has_a_time_limit(
    start: Callable[..., ServerProcess], authority: object, directory: Path
) -> None:
    server = start(directory, "--request-timeout", "1")
    with connect(server, client_context(authority.root)) as client:
        client.settimeout(0.2)
        for byte in b"GET /file.bin HTTP/1.1\r\nX: " + b"x" * 100:
            try:
                client.sendall(bytes([byte]))
                assert client.recv(1) == b""
                return
            except TimeoutError:
                continue
            except OSError:
                return
    pytest.fail("the server went on listening to a request of a byte at a time")


def test_client_that_takes_nothing_is_given_up(
    start: Callable[..., ServerProcess], authority: object, directory: Path
) -> None:
    server = start(directory, "--send-timeout", "1")
    with connect(server, client_context(authority.root), rcvbuf=4096) as client:
        ask(client, "/file.bin")
        assert "timed out" in server.response("/file.bin").trouble


def test_newcomers_wait_for_a_free_thread(
    start: Callable[..., ServerProcess], authority: object, directory: Path
) -> None:
    server = start(directory, "--max-connections", "2", "--request-timeout", "2")
    context = client_context(authority.root)
    with connect(server, context), connect(server, context):
        assert_served(server, authority, directory)
