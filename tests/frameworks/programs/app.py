"""What the programs of docs/frameworks.md import as `app`: applications that a test can talk to.

GET /file.bin is a large file, GET /connection describes the connection, and PUT /upload answers
with the digest of what it was sent.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

from connection import described

BLOCK_SIZE = 1 << 18
FILE = Path("file.bin")
UPSTREAM = ("127.0.0.1", int(os.environ.get("UPSTREAM_PORT", "0")))


class Handler(SimpleHTTPRequestHandler):
    """For servers on http.server."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/connection":
            self._answer(described(self.connection))
        else:
            super().do_GET()

    def do_PUT(self) -> None:
        self._answer(_received(self.rfile, int(self.headers["Content-Length"])))

    def _answer(self, what: dict[str, Any]) -> None:
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: what is on standard error is compared."""


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """For servers of WSGI; those that give their socket away give it under some name."""
    if environ["PATH_INFO"] == "/file.bin":
        length = str(FILE.stat().st_size)
        start_response("200 OK", [("Content-Length", length)])
        return environ.get("wsgi.file_wrapper", _blocks)(FILE.open("rb"), BLOCK_SIZE)
    if environ["PATH_INFO"] == "/upload":
        answer = _received(environ["wsgi.input"], int(environ["CONTENT_LENGTH"]))
    else:
        sock = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
        answer = described(sock) | {"verified": environ.get("SSL_CLIENT_VERIFY", "")}
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def answer_to(sock: Any, request: bytes) -> bytes:
    """For servers that know no HTTP: a whole response."""
    if request.startswith(b"GET /file.bin "):
        body = FILE.read_bytes()
    else:
        body = json.dumps(described(sock)).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _received(stream: Any, length: int) -> dict[str, Any]:
    digest = hashlib.sha256()
    missing = length
    while missing and (data := stream.read(min(missing, BLOCK_SIZE))):
        digest.update(data)
        missing -= len(data)
    return {"sha256": digest.hexdigest(), "length": length - missing}


def _blocks(file: Any, size: int) -> Iterable[bytes]:
    with file:
        yield from iter(lambda: file.read(size), b"")
