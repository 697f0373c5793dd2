"""Servers that fork for each connection: who makes the handshake, and who ends it."""

import array
import fcntl
import os
import signal
import socket
import ssl
import termios
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ktls
from cli.server_process import PATIENCE_S, eventually

from .conftest import FILE_SIZE
from .curl import VERSIONS, Curl, digest
from .document import sections
from .program import Program

NAME = "http.server with processes"
LAZY = ", do_handshake_on_connect=False"

with_versions = pytest.mark.parametrize("version", VERSIONS)


def connected(program: Program, shared: Path, **options: int) -> ssl.SSLSocket:
    """A stock client whose kernel holds little."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.settimeout(PATIENCE_S)
    sock.connect(("127.0.0.1", program.port))
    context = ssl.create_default_context(cafile=shared / "ca.pem")
    for name, value in options.items():
        setattr(context, name, value)
    return context.wrap_socket(sock, server_hostname="127.0.0.1")


@pytest.fixture(scope="module")
def forking(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with Program(sections()[NAME], tmp_path_factory.mktemp("forking"), shared) as program:
        yield program


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_child_that_leaves_has_sent_everything(
    forking: Program, shared: Path, version: ssl.TLSVersion
) -> None:
    """It leaves by os._exit, as soon as it has shut the connection down."""
    with connected(forking, shared, maximum_version=version) as client:
        client.sendall(b"GET /file.bin HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = client.recv(1000)
        # The child has accepted all that it can before the client goes on.
        eventually(lambda: queued(client) == 0 or is_settled(client))
        received += b"".join(iter(lambda: client.recv(1 << 20), b""))
    _, _, body = received.partition(b"\r\n\r\n")
    assert len(body) == FILE_SIZE
    assert body == (shared / "file.bin").read_bytes()
