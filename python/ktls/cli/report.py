"""The lines that ``ktls serve`` prints: one per finished response, one per connection that failed.

Lines go out whole, whatever the number of threads; a reader that went away ends the printing, not
the server.
"""

import string
import threading
import urllib.parse
from dataclasses import dataclass
from typing import TextIO

_UNITS = ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"))


@dataclass(frozen=True, slots=True)
class Response:
    """What is said about a response when TCP has taken its last byte, or when it broke off."""

    method: str
    target: str
    status: int
    body_len: int
    elapsed_s: float
    mode: str
    suite: str
    backend: str
    trouble: str | None = None

    def __str__(self) -> str:
        """``GET /file 200 mode=SW suite=... backend=ring bytes=1048576 rate=1.9GB/s``."""
        # What the client chose is shown without anything that a terminal would obey.
        target = urllib.parse.quote(self.target, safe=string.punctuation, errors="replace")
        method = urllib.parse.quote(self.method, safe="", errors="replace")
        line = (
            f"{method} {target} {self.status} mode={self.mode} suite={self.suite} "
            f"backend={self.backend} bytes={self.body_len} rate={_rate(self)}"
        )
        return line if self.trouble is None else f"{line} broke off: {self.trouble!r}"


class Printer:
    """Writes lines to a stream, one at a time."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._reader_left = False

    def __call__(self, line: object) -> None:
        """Print one line and let it be seen at once."""
        with self._lock:
            if self._reader_left:
                return
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):
                self._reader_left = True


def _rate(response: Response) -> str:
    if response.elapsed_s <= 0:
        return "-"
    rate = response.body_len / response.elapsed_s
    for unit, name in _UNITS:
        if rate >= unit:
            return f"{rate / unit:.2f}{name}"
    return f"{rate:.0f}B/s"
