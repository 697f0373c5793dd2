"""The standard library's HTTP over TLSSockets, both ends."""

import http.client
import http.server
import os
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from handover.pairs import TIMEOUT
from ktls import Mode, TLSSocket, wrap_socket

BODY = os.urandom(1_000_000)


class Handler(http.server.BaseHTTPRequestHandler):
    """GET answers BODY by sendfile, POST what it got."""

    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT

    def do_GET(self) -> None:
        assert self.connection.mode is Mode.SW
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        with open(self.server.path, "rb") as file:
            assert self.connection.sendfile(file) == len(BODY)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(make_context, version: str, tmp_path: Path) -> Iterator[int]:
    """Port of a threading server whose listening socket is a TLSSocket."""
    with http.server.ThreadingHTTPServer(("localhost", 0), Handler) as httpd:
        httpd.path = tmp_path / "body"
        httpd.path.write_bytes(BODY)
        context = make_context(True, version=version, prepared=True)
        httpd.socket = wrap_socket(
            httpd.socket, context, server_side=True, do_handshake_on_connect=False
        )
        assert isinstance(httpd.socket, TLSSocket)
        thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
        thread.start()
        yield httpd.server_address[1]
        httpd.shutdown()
        thread.join()


def test_urllib_over_a_tls_socket(server: int, make_context) -> None:
    context = make_context(False)
    url = f"https://localhost:{server}/"
    for data in (None, BODY):
        with urllib.request.urlopen(url, data, TIMEOUT, context=context) as answer:
            assert answer.read() == BODY


def test_http_client_over_ours(server: int, make_context) -> None:
    """Keep-alive, `makefile`, and a body that is a file."""
    context = make_context(False, prepared=True)

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            self.sock = wrap_socket(self.sock, context, server_hostname="localhost")

    connection = Connection("localhost", server, timeout=TIMEOUT)
    connection.connect()
    assert connection.sock.mode is Mode.SW
    for _ in range(3):
        connection.request("GET", "/")
        assert connection.getresponse().read() == BODY
        connection.request("POST", "/", BODY)
        assert connection.getresponse().read() == BODY
    connection.close()


def test_many_http_requests_at_once(server: int, make_context) -> None:
    context = make_context(False)

    def get(_: int) -> bool:
        url = f"https://localhost:{server}/"
        with urllib.request.urlopen(url, None, TIMEOUT, context=context) as answer:
            return answer.read() == BODY

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(get, range(64)))


def test_curl_asks_http_server_over_a_tls_socket(server: int, authority, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    assert curl is not None, "install curl"
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    url = f"https://localhost:{server}/"
    command = [curl, "--silent", "--show-error", "--cacert", str(ca), "--max-time", str(TIMEOUT)]
    got = subprocess.run([*command, url], capture_output=True, check=True, timeout=TIMEOUT)
    assert got.stdout == BODY
    posted = subprocess.run(
        [*command, "--data-binary", f"@{tmp_path / 'body'}", url],
        capture_output=True,
        check=True,
        timeout=TIMEOUT,
    )
    assert posted.stdout == BODY


def test_garbage_harms_only_itself(server: int, make_context) -> None:
    for garbage in (b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""):
        with socket.create_connection(("localhost", server), TIMEOUT) as sock:
            sock.sendall(garbage)
    test_urllib_over_a_tls_socket(server, make_context)
