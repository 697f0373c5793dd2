"""Rude clients and Ctrl-C: each program of the page ends as with `ssl`'s context, and says as much."""

import re
import socket
import ssl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.server_process import PATIENCE_S

from .conftest import HTTP
from .curl import Curl
from .document import Section, sections
from .program import Program


@dataclass
class End:
    """How a program ended, and what it had said."""

    status: int
    errors: Counter[str]
    """Kinds of errors of its tracebacks."""


def ended(section: Section, directory: Path, shared: Path, scratch: Path) -> End:
    """A clean client, rude ones, one that waits, then Ctrl-C."""
    directory.mkdir()
    with Program(section, directory, shared) as program:
        curl = Curl(program.port, shared, scratch)
        curl.json("/connection")
        # A client that does not know who signed the certificate.
        assert curl.run("--capath", "/dev/null", "--cacert", shared / "other.pem").returncode != 0
        with connected(program.port) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while plain.recv(1000):
                pass
        connected(program.port).close()
        with idle(program.port, shared), stalled(program.port, shared):
            status = program.interrupt()
        return End(status, Counter(re.findall(r"^([\w.]+(?:Error|Interrupt))\b", program.said(), re.M)))


def connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    # What the system says of a connection that it ended badly is not looked at.
    return sock


def idle(port: int, shared: Path) -> ssl.SSLSocket:
    """A client that was answered and keeps its connection."""
    context = ssl.create_default_context(cafile=shared / "ca.pem")
    client = context.wrap_socket(connected(port), server_hostname="127.0.0.1")
    client.sendall(b"GET /connection HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert client.recv(1) == b"H"
    return client


def stalled(port: int, shared: Path) -> ssl.SSLSocket:
    """A client that has stopped in the middle of the large file."""
    context = ssl.create_default_context(cafile=shared / "ca.pem")
    client = context.wrap_socket(connected(port), server_hostname="127.0.0.1")
    client.sendall(b"GET /file.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert client.recv(1) == b"H"
    return client
