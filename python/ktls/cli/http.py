"""Answers the requests of one connection from a directory: http.server's over a ``TLSSocket``.

http.server parses requests, guesses types and writes listings; here are validators, ranges, the
statuses it lacks and the way a body goes out, which is ``TLSSocket.sendfile``.

Paths: nothing outside the directory is served.  A symbolic link is followed when what it leads to
lies inside, and is 404 otherwise.  Only regular files and directories are served.
"""

import errno
import http.server
import io
import os
import stat
import time
import urllib.parse
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO

from ktls.cli.conditional import UnsatisfiableRangeError, Validators, select_range
from ktls.cli.report import Response
from ktls.cli.request import HeaderTooLargeError, RequestReader

if TYPE_CHECKING:
    from ktls import TLSSocket
    from ktls.cli.server import FileServer

RESOURCES_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors that say nothing about what was asked for, and pass."""

_INDEX_NAMES = ("index.html", "index.htm")
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW
_LINGER_S = 1.0
_LINGER_SIZE = 1 << 20


class FileHandler(http.server.SimpleHTTPRequestHandler):
    """One connection after its handshake; constructing it serves until the end."""

    protocol_version = "HTTP/1.1"

    server: "FileServer"

    def __init__(
        self, connection: "TLSSocket", client_address: tuple[str, int], server: "FileServer"
    ) -> None:
        super().__init__(connection, client_address, server, directory=str(server.directory))

    # -- the connection ----------------------------------------------------------------------------

    def setup(self) -> None:
        """Put the limits of a request between the connection and http.server."""
        self.connection: TLSSocket = self.request
        self._reader = RequestReader(self.connection, self.server.limits.request_s)
        self._unread = False
        self.rfile = io.BufferedReader(self._reader)
        self.wfile = _ResponseWriter(self.connection)  # type: ignore[assignment]

    def finish(self) -> None:
        """Part with the client, so that the answer to what it is still sending reaches it."""
        if self._unread:
            self._linger()
        self.rfile.close()

    def handle_one_request(self) -> None:
        """Read a request, answer it, report it."""
        self.command = self.path = ""
        self._status: int | None = None
        self._body_len = 0
        self._trouble: str | None = None
        self._reader.begin_request()
        try:
            super().handle_one_request()
        except HeaderTooLargeError:
            self.requestline = ""
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except OSError as error:
            self.close_connection = True
            self._trouble = error.strerror or str(error)
        if self._status is not None:
            self.server.report(self._response(self._status))
        if self.server.stopping:
            self.close_connection = True

    def _linger(self) -> None:
        """Discard what still comes: closing over unread data would reset the answer away."""
        deadline, discarded = time.monotonic() + _LINGER_S, 0
        try:
            self.connection.shutdown(1)
            while discarded < _LINGER_SIZE and (rest_s := deadline - time.monotonic()) > 0:
                self.connection.settimeout(rest_s)
                chunk = self.connection.recv(65536)
                if not chunk:
                    break
                discarded += len(chunk)
        except OSError:
            pass  # It is gone, or slow: either way the answer has had its chance.

    # -- methods -----------------------------------------------------------------------------------

    def do_GET(self) -> None:
        """Answer with a file, a part of one, or a listing."""
        self._note_body()
        self._answer()

    def do_HEAD(self) -> None:
        """Answer as GET does, without the body; Range means nothing here (RFC 9110 §14.2)."""
        self._note_body()
        self._answer()

    def _refuse_method(self) -> None:
        self._note_body()
        self._say(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "GET, HEAD"))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse_method

    def handle_expect_100(self) -> bool:
        """Let the final answer follow at once: no request's body is wanted."""
        return True

    def _note_body(self) -> None:
        """A body that nobody reads makes this the last request of the connection."""
        if "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0":
            self._unread = self.close_connection = True

    # -- answers -----------------------------------------------------------------------------------

    def _answer(self) -> None:
        try:
            target = urllib.parse.urlsplit(self.path)
        except ValueError:
            target = urllib.parse.SplitResult("", "", "", "", "")
        if not target.path.startswith("/") or not self._names_host():
            self._say(HTTPStatus.BAD_REQUEST)
            return
        try:
            location = self.translate_path(target.path)
            resolved = self._resolve(location)
            if os.path.isdir(resolved):
                if not target.path.endswith("/"):
                    moved = urllib.parse.urlunsplit(("", "", target.path + "/", target.query, ""))
                    self._say(HTTPStatus.MOVED_PERMANENTLY, ("Location", moved))
                    return
                index = self._index(location)
                if index is None:
                    self._send_listing(location)
                    return
                resolved = index
            file = _open_regular(resolved)
        except PermissionError:
            self._say(HTTPStatus.FORBIDDEN)
            return
        except (OSError, ValueError) as error:
            short = isinstance(error, OSError) and error.errno in RESOURCES_SHORT
            # Otherwise not there, outside, a name too long or with a zero byte, a loop, a pipe.
            self._say(HTTPStatus.SERVICE_UNAVAILABLE if short else HTTPStatus.NOT_FOUND)
            return
        with file:
            self._send_file(file, self.guess_type(resolved))

    def _names_host(self) -> bool:
        """Whether there is one Host field, as HTTP/1.1 asks for (RFC 9112 §3.2)."""
        hosts = self.headers.get_all("Host", [])
        return len(hosts) == 1 or (not hosts and self.request_version == "HTTP/1.0")

    def _resolve(self, location: str) -> str:
        """`location` without links; FileNotFoundError when that is not in the directory."""
        resolved, root = os.path.realpath(location), str(self.server.directory)
        if os.path.commonpath((resolved, root)) != root:
            raise FileNotFoundError(f"{location} leads out of {root}")
        if location.endswith("/") and not os.path.isdir(resolved):
            raise FileNotFoundError(f"{location} is not a directory")
        return resolved

    def _index(self, location: str) -> str | None:
        for name in _INDEX_NAMES:
            index = os.path.join(location, name)
            if os.path.isfile(index):
                return self._resolve(index)
        return None

    def _send_file(self, file: BinaryIO, media_type: str) -> None:
        status = os.fstat(file.fileno())
        validators = Validators.of(status)
        common = [
            ("ETag", validators.etag),
            ("Last-Modified", formatdate(validators.last_modified, usegmt=True)),
            ("Accept-Ranges", "bytes"),
        ]
        if validators.precondition_failed(self.headers):
            self._say(HTTPStatus.PRECONDITION_FAILED)
            return
        if validators.not_modified(self.headers):
            self._send_header(HTTPStatus.NOT_MODIFIED, common)
            return
        size, selected = status.st_size, None
        if self.command == "GET" and validators.allow_range(self.headers.get("If-Range")):
            try:
                selected = select_range(self.headers.get("Range"), size)
            except UnsatisfiableRangeError:
                self._say(
                    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, ("Content-Range", f"bytes */{size}")
                )
                return
        positions = range(size) if selected is None else selected
        header = [
            ("Content-Type", media_type),
            ("Content-Length", str(len(positions))),
            *common,
        ]
        if selected is None:
            self._send_header(HTTPStatus.OK, header)
        else:
            part = f"bytes {selected.start}-{selected.stop - 1}/{size}"
            self._send_header(HTTPStatus.PARTIAL_CONTENT, [*header, ("Content-Range", part)])
        if self.command == "GET" and positions:
            self._send_range(file, positions)

    def _send_range(self, file: BinaryIO, positions: range) -> None:
        try:
            self.connection.sendfile(file, positions.start, len(positions))
        finally:
            self._body_len = max(file.tell() - positions.start, 0)
        if self._body_len < len(positions):
            raise OSError(f"{len(positions) - self._body_len} bytes short: the file was truncated")

    def _send_listing(self, location: str) -> None:
        listing = self.list_directory(location)
        if listing is not None and self.command == "GET":
            self._send_body(listing.read())

    def _say(self, status: HTTPStatus, *headers: tuple[str, str]) -> None:
        """Answer with a status and its name as text."""
        body = f"{status.value} {status.phrase}\n".encode()
        common = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        self._send_header(status, [*common, *headers])
        if self.command != "HEAD":
            self._send_body(body)

    def _send_header(self, status: HTTPStatus, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def _send_body(self, body: bytes) -> None:
        self._body_len = self.connection.sendfile(io.BytesIO(body))

    # -- what http.server calls --------------------------------------------------------------------

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what was not understood, and part: where the next request begins is unknown."""
        self._unread = self.close_connection = True
        # Otherwise what was no request at all would count as HTTP/0.9 and get no header.
        self.request_version = self.protocol_version
        self._say(HTTPStatus(code))

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin an answer; the clock of the report starts here."""
        self._status, self._began_s = int(code), time.monotonic()
        super().send_response(code, message)

    def end_headers(self) -> None:
        """End the header; says what becomes of the connection where the version does not."""
        if self.close_connection:
            self.send_header("Connection", "close")
        elif self.request_version == "HTTP/1.0":
            self.send_header("Connection", "keep-alive")
        super().end_headers()

    def version_string(self) -> str:
        """Name the server, not its versions."""
        return "ktls"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing yet: a response is reported when it has been sent."""

    def log_message(self, format: str, *args: object) -> None:
        """Keep what http.server has to say for the report, if there is one."""
        self._trouble = format % args

    def _response(self, status: int) -> Response:
        suite, _, _ = self.connection.cipher() or ("-", "", 0)
        return Response(
            method=self.command or "-",
            target=self.path or "-",
            status=status,
            body_len=self._body_len,
            elapsed_s=time.monotonic() - self._began_s,
            mode=self.connection.mode.name,
            suite=suite,
            backend=self.connection.backend or "openssl",
            trouble=self._trouble,
        )


def _open_regular(resolved: str) -> BinaryIO:
    """Open a regular file; FileNotFoundError for anything else, without waiting on a pipe."""
    descriptor = os.open(resolved, _OPEN_FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{resolved} is not a regular file")
    return os.fdopen(descriptor, "rb", buffering=0)


class _ResponseWriter:
    """What http.server writes to: all goes to the connection at once, and flush means sent."""

    def __init__(self, connection: "TLSSocket") -> None:
        self._connection = connection

    def write(self, data: bytes, /) -> int:
        self._connection.sendall(data)
        return len(data)

    def flush(self) -> None:
        self._connection.flush()
