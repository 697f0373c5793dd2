"""Rude clients, then Ctrl-C: each program ends as with `ssl`'s context, and says as much."""

import contextlib
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.server_process import PATIENCE_S

from .conftest import HTTP
from .curl import Curl
from .document import Section, sections
from .program import Program

# Anywhere in a line: several processes write at once.
_RAISED = re.compile(r"\b[\w.]+(?:Error|Interrupt|Warning|Exit)\b")
WHERE_IT_LANDS = {"KeyboardInterrupt", "SystemExit"}
"""What the signal's handler raises is printed or not by where the program is at that moment."""


@dataclass
class End:
    """How a program ended."""

    status: int
    raised: set[str]
    """Names of the exceptions that it printed."""


def end_of(program: Program) -> End:
    status = program.interrupt()
    return End(status, set(_RAISED.findall(program.said())) - WHERE_IT_LANDS)


def asked(port: int, shared: Path, path: str) -> ssl.SSLSocket:
    """A client that has the first byte of an answer, and waits."""
    context = ssl.create_default_context(cafile=shared / "ca.pem")
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    client = context.wrap_socket(sock, server_hostname="127.0.0.1")
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert client.recv(1) == b"H"
    return client


def ended(section: Section, directory: Path, shared: Path) -> End:
    directory.mkdir()
    scratch = directory.with_suffix(".curl")
    scratch.mkdir()
    with Program(section, directory, shared) as program:
        curl = Curl(program.port, shared, scratch)
        curl.json("/connection")
        # One that does not know who signed the certificate.
        unknown = curl.run("--cacert", shared / "other.pem", "https://127.0.0.1/connection")
        assert unknown.returncode == 60
        # One that speaks no TLS, and one that says nothing.
        assert curl.run(f"http://127.0.0.1:{program.port}/").returncode != 0
        socket.create_connection(("127.0.0.1", program.port), PATIENCE_S).close()
        curl.json("/connection")
        with asked(program.port, shared, "/connection") as client:
            # The application has ended then: some servers swallow what a signal raises in it.
            client.settimeout(0.5)
            with contextlib.suppress(OSError):
                while client.recv(65536):
                    pass
            return end_of(program)


@pytest.mark.parametrize("name", HTTP)
def test_ctrl_c_ends_a_server_like_stock(name: str, shared: Path, tmp_path: Path) -> None:
    section = sections()[name]
    ours = ended(section, tmp_path / "ours", shared)
    stock = ended(section.stock(), tmp_path / "stock", shared)
    if name == "Processes that share a port":
        # Each is interrupted before or after it has printed: the status is what is certain.
        stock.raised = ours.raised
    if name == "eventlet":
        # Its own socket has a ValueError more to print, of a descriptor that has gone.
        stock.raised &= ours.raised
    assert ours == stock


@pytest.mark.parametrize("name", ["http.server with threads", "http.server with processes"])
def test_ctrl_c_ends_a_server_under_a_client_that_has_stopped(
    name: str, shared: Path, tmp_path: Path
) -> None:
    section = sections()[name]
    ends = []
    for each in (section, section.stock()):
        directory = tmp_path / str(len(ends))
        directory.mkdir()
        short = {"KTLS_SYSCTL": "kern.ipc.tls.close_timeout=1"}
        with (
            Program(each, directory, shared, **short) as program,
            asked(program.port, shared, "/file.bin"),
        ):
            ends.append(end_of(program))
    assert ends[0] == ends[1]
