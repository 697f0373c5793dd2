"""One connection of ``ktls serve`` after its handshake: requests are read, answered and reported.

Bodies go out by ``TLSSocket.sendfile``.  What the answer is, answer.py decides.
"""

import io
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from ktls import TLSSocket
from ktls.cli.answer import Answer, answer_to, status_answer
from ktls.cli.limits import Limits
from ktls.cli.reader import HeaderTooLargeError, RequestReader
from ktls.cli.report import Response
from ktls.cli.request import Headers, Request, RequestError, read_request
from ktls.cli.tcp_info import acknowledged_len


class Service(Protocol):
    """What a connection asks of its server."""

    @property
    def directory(self) -> Path:
        """Which directory is served; without links."""

    @property
    def limits(self) -> Limits:
        """What a client may take."""

    @property
    def stopping(self) -> bool:
        """Whether no further request is to be read."""

    @property
    def report(self) -> Callable[[Response], None]:
        """Takes each response when it has ended."""


class HTTPConnection:
    """Serves requests until one side has had enough; made before the handshake."""

    def __init__(self, connection: TLSSocket, service: Service) -> None:
        self._connection = connection
        self._service = service
        self._root = str(service.directory)
        self._reader = RequestReader(connection, service.limits.request_s)
        self._lines = io.BufferedReader(self._reader)
        self._body_len = 0
        self._answer_len = 0
        self._acknowledged_before = 0

    @property
    def connection(self) -> TLSSocket:
        """The TLS connection."""
        return self._connection

    def unsent_len(self) -> int:
        """About how many bytes of the latest answer the client's TCP has not acknowledged."""
        taken_len = acknowledged_len(self._connection) - self._acknowledged_before
        return max(self._answer_len - taken_len, 0)

    def serve(self) -> None:
        """Read and answer; the connection is left open, for a goodbye.

        SSLError and KTLSError for what is no TLS, or an alert.
        """
        while self._serve_one() and not self._service.stopping:
            pass

    def _serve_one(self) -> bool:
        """Whether the connection goes on after one more request."""
        self._reader.begin_request()
        try:
            request = read_request(self._lines)
        except RequestError as error:
            return self._refuse(error)
        except HeaderTooLargeError:
            return self._refuse(RequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        except ssl.SSLError:
            raise
        except OSError:
            return False  # Late, or gone: no answer is lost.
        if request is None:
            return False
        # What follows a body that nobody reads is no request.
        goes_on = request.keeps_alive and not request.has_body and not self._service.stopping
        return self._send(request, answer_to(request, self._root), goes_on)

    def _refuse(self, error: RequestError) -> bool:
        """Answer what was not understood, and part: where the next request begins is unknown."""
        shown = Request(error.method, error.target, 1, Headers(), has_body=True)
        return self._send(shown, status_answer(error.status), goes_on=False)

    def _send(self, request: Request, answer: Answer, goes_on: bool) -> bool:
        """Send an answer and report it; whether the connection goes on."""
        began_s, trouble, self._body_len = time.monotonic(), None, 0
        head, has_body = _head(request, answer, goes_on), request.method != "HEAD"
        with suppress(OSError):
            # Without a free descriptor the count stays that of an answer before.
            self._acknowledged_before = acknowledged_len(self._connection)
        try:
            self._answer_len = len(head) + (answer.body_len if has_body else 0)
            self._connection.sendall(head)
            if has_body and answer.body_len:
                self._send_body(answer)
            self._connection.flush()
        except OSError as error:
            trouble, goes_on = error.strerror or str(error), False
        finally:
            if answer.file is not None:
                answer.file.close()
        suite, _, _ = self._connection.cipher() or ("-", "", 0)
        self._service.report(
            Response(
                method=request.method or "-",
                target=request.target or "-",
                status=int(answer.status),
                body_len=self._body_len,
                elapsed_s=time.monotonic() - began_s,
                mode=self._connection.mode.name,
                suite=suite,
                backend=self._connection.backend or "openssl",
                trouble=trouble,
            )
        )
        return goes_on

    def _send_body(self, answer: Answer) -> None:
        if answer.file is None:
            self._body_len = self._connection.sendfile(io.BytesIO(answer.text))
            return
        first, wanted_len = answer.positions.start, answer.body_len
        try:
            self._connection.sendfile(answer.file, first, wanted_len)
        finally:
            self._body_len = max(answer.file.tell() - first, 0)
        if self._body_len < wanted_len:
            raise OSError(f"{wanted_len - self._body_len} bytes short: the file was truncated")


def _head(request: Request, answer: Answer, goes_on: bool) -> bytes:
    """The header of a response; says what becomes of the connection where the version does not."""
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        "Server: ktls",
        f"Date: {formatdate(usegmt=True)}",
        *(f"{name}: {value}" for name, value in answer.fields),
    ]
    if not goes_on:
        lines.append("Connection: close")
    elif request.minor_version == 0:
        lines.append("Connection: keep-alive")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
