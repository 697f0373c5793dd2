"""The tools' end: which processes can be asked, and one of them asked.

A process is believed when its socket belongs to the user in whose directory it lies. Sockets of
processes that are gone are removed on the way.
"""

import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ktls.control import protocol, runtime_dir
from ktls.control.protocol import LineReader, ProtocolError, Request

TIMEOUT_S: Final = 10.0
"""For one answer; a process that is stopped gives none."""
_RETRY_S: Final = 0.1
_CREDENTIALS: Final = struct.Struct("3i")


class Process:
    """A connection to the control socket of one process.

    Raises OSError: ECONNREFUSED and ENOENT for one that is gone, EACCES, EBUSY, TimeoutError;
    ProtocolError for what speaks another protocol.
    """

    def __init__(self, path: Path, uid: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._lines: list[bytes] = []
        self._reader = LineReader(protocol.REPLY_MAX)
        try:
            self._socket.settimeout(TIMEOUT_S)
            self._socket.connect(str(path))
            self._require_user(uid)
            self.pid = protocol.parse_hello(self._greeting())
        except BaseException:
            self._socket.close()
            raise

    def ask(self, request: Request) -> Any:
        """The result.  Raises the OSError of a refusal, TimeoutError, ProtocolError."""
        # What it said before it hung up is still to be read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(protocol.show_request(request))
        return protocol.parse_reply(self._line())

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _greeting(self) -> bytes:
        line = self._line()
        if line.startswith(b"{"):
            # Refused: raises why.
            protocol.parse_reply(line)
        return line

    def _line(self) -> bytes:
        while not self._lines:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError(
                    errno.ECONNRESET, "the process closed the control connection"
                )
            self._lines = self._reader.feed(data)
        return self._lines.pop(0)

    def _require_user(self, uid: int) -> None:
        packed = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, owner, _ = _CREDENTIALS.unpack(packed)
        if owner != uid:
            raise PermissionError(errno.EPERM, f"the socket is served by user {owner}, not {uid}")


def reachable() -> Iterator[Process]:
    """Every process of this user that serves, by its number; whoever asks is left out.

    One that does not answer is passed over.
    """
    uid = os.geteuid()
    paths = [path for place in runtime_dir.of_user(uid) for path in place.iterdir()]
    for path in sorted(paths, key=lambda path: runtime_dir.pid_of(path) or 0):
        if runtime_dir.pid_of(path) in (None, os.getpid()):
            continue
        try:
            process = _opened(path, uid)
        except (OSError, ProtocolError):
            continue
        if process is not None:
            yield process


def process(pid: int) -> Process:
    """The process of this number, of whatever user.

    Raises OSError: ESRCH without such a process, EPERM for one of another user (but root may),
    ENOENT for one that serves nobody; as ``Process``.
    """
    uid = _user_of(pid)
    if os.geteuid() not in (uid, 0):
        raise PermissionError(errno.EPERM, f"process {pid} belongs to another user")
    for place in runtime_dir.of_user(uid):
        path = runtime_dir.socket_path(place, pid)
        if path.exists() and (found := _opened(path, uid)) is not None:
            return found
    raise FileNotFoundError(
        errno.ENOENT,
        f"process {pid} has no control socket; start it with KTLS_CONTROL=1, or have it call"
        " ktls.control.serve()",
    )


def _opened(path: Path, uid: int) -> Process | None:
    """None: nobody serves there any more, and the socket is removed."""
    end_s = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return Process(path, uid)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return None
        except FileNotFoundError:
            return None
        except OSError as error:
            # Others ask, too: EAGAIN before they are let in, EBUSY at once after it.
            if error.errno not in (errno.EAGAIN, errno.EBUSY) or time.monotonic() > end_s:
                raise
        time.sleep(_RETRY_S)


def _user_of(pid: int) -> int:
    """The effective user of a process.  Raises OSError ESRCH."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        raise ProcessLookupError(errno.ESRCH, f"there is no process {pid}") from None
    [users] = [line.split() for line in status.splitlines() if line.startswith("Uid:")]
    return int(users[2])
