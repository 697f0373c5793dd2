"""`makefile`: files over anything that has a socket's `recv_into` and `send`."""

import io
import socket
from typing import Any, Protocol, cast

__all__ = ["FileSource", "makefile"]


class FileSource(Protocol):
    """What `socket.SocketIO` needs, which is less than a socket."""

    def recv_into(self, buffer: Any) -> int:
        """Fill the buffer."""

    def send(self, data: Any) -> int:
        """Send some of it."""

    def fileno(self) -> int:
        """For whoever selects."""

    def _decref_socketios(self) -> None:
        """Told when the file is closed."""


def makefile(
    source: FileSource,
    mode: str,
    buffering: int | None,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> Any:
    """Return a file with the meaning of `socket.makefile`.

    ValueError for a mode other than a mixture of r, w and b, and for unbuffered text.
    """
    if not set(mode) <= set("rwb"):
        raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
    if buffering == 0 and "b" not in mode:
        raise ValueError("unbuffered streams must be binary")
    writing = "w" in mode
    reading = "r" in mode or not writing
    raw_mode: Any = "r" * reading + "w" * writing
    raw = socket.SocketIO(cast("socket.socket", source), raw_mode)
    if buffering == 0:
        return raw
    size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
    buffered: Any
    if reading and writing:
        buffered = io.BufferedRWPair(raw, raw, size)
    elif reading:
        buffered = io.BufferedReader(raw, size)
    else:
        buffered = io.BufferedWriter(raw, size)
    if "b" in mode:
        return buffered
    text: Any = io.TextIOWrapper(buffered, encoding, errors, newline)
    text.mode = mode
    return text
