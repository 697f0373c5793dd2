"""Requests as RFC 9112 writes them: request line, fields, and whether a body follows.

Strict where leniency would let two readers of one connection disagree about where a request ends
(RFC 9112 §11.2): what is malformed is refused, and nothing is guessed.  Reads no bodies.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

LINE_LIMIT = 65536
"""Bytes of the request line, or of a field."""
FIELD_LIMIT = 100
"""Fields of a request."""

_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET = re.compile(rb"[!-~\x80-\xff]+")
_VERSION = re.compile(rb"HTTP/([0-9])\.([0-9])")
# No whitespace around the name (§5.1), no line that goes on with the next (§5.2), no controls.
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t -~\x80-\xff]*)")
_HOST = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?", re.ASCII
)


class RequestError(Exception):
    """Not a request that can be answered; says with which status, and what had been read."""

    def __init__(self, status: HTTPStatus, method: str = "", target: str = "") -> None:
        super().__init__(status.phrase)
        self.status = status
        self.method = method
        self.target = target


class Lines(Protocol):
    """What requests are read from."""

    def readline(self, size: int, /) -> bytes:
        """As ``io.BufferedIOBase.readline``."""


class Headers:
    """The fields of a request, by name without regard to case."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in fields:
            self._values.setdefault(name.lower(), []).append(value)

    def get(self, name: str) -> str | None:
        """The value of a field, that of several joined as RFC 9110 §5.3 says; None without one."""
        values = self._values.get(name.lower())
        return None if values is None else ", ".join(values)

    def get_all(self, name: str) -> list[str]:
        """The value of each field of this name."""
        return self._values.get(name.lower(), [])

    def members(self, name: str) -> list[str]:
        """The members of a list, in lower case, without empty ones (RFC 9110 §5.6.1)."""
        members = (member.strip(" \t").lower() for member in (self.get(name) or "").split(","))
        return [member for member in members if member]


@dataclass(frozen=True, slots=True)
class Request:
    """A request of HTTP/1.0 or 1.1 whose header is whole and whose framing is sound."""

    method: str
    target: str
    """As it was sent, a character for a byte."""
    minor_version: int
    """0 for HTTP/1.0, 1 for HTTP/1.1 and what is compatible with it."""
    headers: Headers
    has_body: bool
    """Whether a body follows that somebody has to read before the next request."""

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants the connection to go on (RFC 9112 §9.3)."""
        options = self.headers.members("Connection")
        return "close" not in options and (self.minor_version > 0 or "keep-alive" in options)


def read_request(lines: Lines) -> Request | None:
    """Read the header of a request; None when the stream ends before one.

    Raises RequestError; where the next request begins is unknown then.
    """
    line: bytes | None = b""
    while line == b"":  # Empty lines before a request are passed over (§2.2).
        line = _read_line(lines, HTTPStatus.REQUEST_URI_TOO_LONG)
    if line is None:
        return None
    # What is shown of a request that is refused.
    method, target = [*line.decode("latin-1").split(" ", 2), "", ""][:2]
    try:
        words = line.split(b" ")
        _require(len(words) == 3)
        version = _VERSION.fullmatch(words[2])
        _require(version is not None and _METHOD.fullmatch(words[0]) is not None)
        _require(_TARGET.fullmatch(words[1]) is not None)
        if version is None or version[1] != b"1":
            raise RequestError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        minor_version = min(int(version[2]), 1)
        headers = Headers(_read_fields(lines))
        _check_host(headers, minor_version)
        has_body = _has_body(headers, minor_version)
    except RequestError as error:
        raise RequestError(error.status, method, target) from None
    return Request(method, target, minor_version, headers, has_body)


def _read_line(lines: Lines, too_long: HTTPStatus) -> bytes | None:
    """A line without its end, which may lack the CR (§2.2); None at the end of the stream."""
    line = lines.readline(LINE_LIMIT + 1)
    if len(line) > LINE_LIMIT:
        raise RequestError(too_long)
    if not line:
        return None
    _require(line.endswith(b"\n"))
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _read_fields(lines: Lines) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    while True:
        line = _read_line(lines, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if line == b"":
            return fields
        match = None if line is None else _FIELD.fullmatch(line)
        if match is None:
            raise RequestError(HTTPStatus.BAD_REQUEST)
        if len(fields) == FIELD_LIMIT:
            raise RequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        fields.append((match[1].decode("latin-1"), match[2].strip(b" \t").decode("latin-1")))


def _check_host(headers: Headers, minor_version: int) -> None:
    """HTTP/1.1 has one Host field, HTTP/1.0 at most one (§3.2)."""
    hosts = headers.get_all("Host")
    _require(len(hosts) == 1 or (not hosts and minor_version == 0))
    _require(all(_HOST.fullmatch(host) for host in hosts))


def _has_body(headers: Headers, minor_version: int) -> bool:
    """Whether a body follows; refuses what two readers could cut in different places (§6)."""
    lengths = headers.get_all("Content-Length")
    if headers.get_all("Transfer-Encoding"):
        _require(not lengths and minor_version > 0)
        codings = headers.members("Transfer-Encoding")
        _require(codings[-1:] == ["chunked"] and codings.count("chunked") == 1)
        if len(codings) > 1:
            raise RequestError(HTTPStatus.NOT_IMPLEMENTED)
        return True
    # The same number several times is one (§6.3); anything else is no length.
    digits = {length.strip(" \t") for each in lengths for length in each.split(",")}
    _require(len(digits) <= 1 and all(re.fullmatch("[0-9]+", each) for each in digits))
    return any(each.strip("0") for each in digits)


def _require(condition: bool) -> None:
    if not condition:
        raise RequestError(HTTPStatus.BAD_REQUEST)
