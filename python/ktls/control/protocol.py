"""The control protocol, sans I/O: lines in, requests out; results in, lines out.

A server greets with ``KTLS-control 1 PID``. Then each line of the client is a request, words with
blanks between, and each is answered by one line of JSON: ``{"ok": RESULT}`` or
``{"error": {"errno": "ESRCH", "message": "..."}}``. ``docs/control.md`` lists requests and results.

Nothing of a request is trusted: a line has at most LINE_MAX bytes, all of them printable ASCII.
"""

import errno
import ipaddress
import json
from dataclasses import dataclass
from typing import Any, Final

VERSION: Final = 1
LINE_MAX: Final = 1024
"""Bytes of a request, its newline included."""
REPLY_MAX: Final = 1 << 20
"""Bytes of a reply: a client that is given more hangs up."""
ENCODING: Final = "ascii"

Endpoint = tuple[str, int]


class ProtocolError(Exception):
    """A line that is no request. The message names what was wrong, and how it is right."""


@dataclass(frozen=True, slots=True)
class SysctlList:
    """``sysctl list``: every node."""


@dataclass(frozen=True, slots=True)
class SysctlGet:
    """``sysctl get NAME``."""

    name: str


@dataclass(frozen=True, slots=True)
class SysctlSet:
    """``sysctl set NAME VALUE``; the value is the rest of the line, and may be empty."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Connections:
    """``connections AFTER``: those with a greater id, the oldest of them, and all sums."""

    after: int


@dataclass(frozen=True, slots=True)
class Switch:
    """``switch sw|ifnet LOCAL-HOST LOCAL-PORT FOREIGN-HOST FOREIGN-PORT``, numeric."""

    mode: str
    local: Endpoint
    foreign: Endpoint


Request = SysctlList | SysctlGet | SysctlSet | Connections | Switch


class LineReader:
    """Cuts what arrives into lines, and keeps at most one that is not whole."""

    def __init__(self, limit: int = LINE_MAX) -> None:
        self._limit = limit
        self._rest = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of the line that is not whole."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in `data`, without their newlines.

        Raises ProtocolError for a line that is too long; nothing can follow it.
        """
        *lines, rest = (self._rest + data).split(b"\n")
        for line in (*lines, rest):
            if len(line) >= self._limit:
                raise ProtocolError(f"a line is longer than {self._limit} bytes")
        self._rest = rest
        return [bytes(line) for line in lines]


def hello(pid: int) -> bytes:
    """The server's first line."""
    return f"KTLS-control {VERSION} {pid}\n".encode(ENCODING)


def parse_hello(line: bytes) -> int:
    """The process that greets.  Raises ProtocolError, also for another version."""
    words = line.split(b" ")
    if len(words) != 3 or words[0] != b"KTLS-control" or not _is_number(words[2]):
        raise ProtocolError(f"not a control socket: it greets with {line[:80]!r}")
    if words[1] != str(VERSION).encode():
        raise ProtocolError(
            f"the process speaks version {words[1].decode(ENCODING, 'replace')} of the control"
            f" protocol, this tool version {VERSION}; use the tools of its own installation"
        )
    return int(words[2])


def parse_request(line: bytes) -> Request:
    """The request of a line without its newline.  Raises ProtocolError."""
    if not all(0x20 <= byte < 0x7F for byte in line):
        raise ProtocolError("a request is printable ASCII, words with single blanks between")
    verb, _, rest = line.decode(ENCODING).partition(" ")
    match verb, rest.split(" ") if rest else []:
        case "sysctl", ["list"]:
            return SysctlList()
        case "sysctl", ["get", name] if name:
            return SysctlGet(name)
        case "sysctl", ["set", name, *value] if name:
            return SysctlSet(name, " ".join(value))
        case "connections", [after]:
            return Connections(_number(after, 2**63 - 1, "an id"))
        case "switch", [("sw" | "ifnet") as mode, *ends] if len(ends) == 4:
            return Switch(mode, _endpoint(*ends[:2]), _endpoint(*ends[2:]))
    raise ProtocolError(
        f"{line[:80].decode(ENCODING)!r} is no request; there are: sysctl list, sysctl get NAME,"
        " sysctl set NAME VALUE, connections AFTER, switch sw|ifnet LHOST LPORT FHOST FPORT"
    )


def show_request(request: Request) -> bytes:
    """The line of a request.  Raises ProtocolError for what does not fit into one."""
    match request:
        case SysctlList():
            text = "sysctl list"
        case SysctlGet(name):
            text = f"sysctl get {name}"
        case SysctlSet(name, value):
            text = f"sysctl set {name} {value}"
        case Connections(after):
            text = f"connections {after}"
        case Switch(mode, local, foreign):
            text = f"switch {mode} {local[0]} {local[1]} {foreign[0]} {foreign[1]}"
    line = text.encode("utf-8", "surrogateescape")
    if len(line) >= LINE_MAX or parse_request(line) != request:
        raise ProtocolError(f"{text[:80]!r} cannot be asked: a name or a value is not plain text")
    return line + b"\n"


def show_result(result: object) -> bytes:
    """The line of an answer."""
    return json.dumps({"ok": result}, separators=(",", ":")).encode(ENCODING) + b"\n"


def show_error(error: OSError | ProtocolError | KeyError | ValueError | TypeError) -> bytes:
    """The line of a refusal; what has no errno of its own is EINVAL, an unknown name ENOENT."""
    number = errno.EINVAL
    message = str(error)
    if isinstance(error, OSError) and error.errno:
        number, message = error.errno, error.strerror or message
    elif isinstance(error, KeyError):
        number, message = errno.ENOENT, str(error.args[0])
    told = {"errno": errno.errorcode.get(number, str(number)), "message": message[:400]}
    return json.dumps({"error": told}, separators=(",", ":")).encode(ENCODING) + b"\n"


def parse_reply(line: bytes) -> Any:
    """The result of an answer.  Raises the OSError of a refusal, ProtocolError for no answer."""
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        reply = None
    match reply:
        case {"ok": result}:
            return result
        case {"error": {"errno": str(name), "message": str(message)}}:
            raise OSError(getattr(errno, name, errno.EINVAL), message)
    raise ProtocolError(f"the answer is none of this protocol: {line[:80]!r}")


def _is_number(text: bytes | str) -> bool:
    return text.isdigit() and text.isascii() and len(text) <= 20


def _number(text: str, most: int, what: str) -> int:
    if not _is_number(text) or int(text) > most:
        raise ProtocolError(f"{text[:40]!r} is not {what}; it is a number, 0 to {most}")
    return int(text)


def _endpoint(host: str, port: str) -> Endpoint:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ProtocolError(
            f"{host[:80]!r} is not an address; it is a numeric one, IPv4 or IPv6"
        ) from None
    return host, _number(port, 65535, "a port")
