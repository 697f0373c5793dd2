"""How ``Socket.sendfile`` sends a file: by the engine when it is a regular one, else by reading it.

Nothing here knows about TLS.  The rules are those of ``socket.sendfile``, except where they lose
data.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import ReadableBuffer

READ_LEN: Final = 262144
"""Bytes read at once from what the engine cannot read itself: one flush unit."""


class Sender(Protocol):
    """The part of a stream that is needed here."""

    def send(self, data: ReadableBuffer, /) -> int:
        """As ``Stream.send``."""

    def sendfile(self, fd: int, offset: int, count: int, /) -> int:
        """As ``Stream.sendfile``."""


class Readable(Protocol):
    """A binary file or anything like one.  ``fileno``, ``seek`` and ``mode`` are optional."""

    def read(self, size: int, /) -> bytes | None:
        """At most `size` bytes; empty at the end, None when there is nothing now."""


def send_file(
    stream: Sender, file: Readable, offset: int, count: int | None, *, blocking: bool
) -> int:
    """The work of ``Socket.sendfile``, which documents it."""
    _check(file, offset, count)
    fd = _regular_fd(file)
    if fd is None:
        parts = _by_reading(stream, file, offset, count, blocking=blocking)
    else:
        parts = _by_engine(stream, fd, offset, count)
    accepted = 0
    try:
        for part in parts:
            accepted += part
    except BlockingIOError:
        if not accepted:
            raise
    finally:
        if (accepted or fd is None) and _is_seekable(file):
            file.seek(offset + accepted)  # type: ignore[attr-defined]  # it is seekable
    return accepted


def _by_engine(stream: Sender, fd: int, offset: int, count: int | None) -> Iterator[int]:
    end = os.fstat(fd).st_size if count is None else offset + count
    while offset < end:
        part = stream.sendfile(fd, offset, end - offset)
        if part == 0:
            return
        offset += part
        yield part


def _by_reading(
    stream: Sender, file: Readable, offset: int, count: int | None, *, blocking: bool
) -> Iterator[int]:
    if _is_seekable(file):
        file.seek(offset)  # type: ignore[attr-defined]  # it is seekable
    elif offset:
        raise ValueError(f"offset is {offset}, but the file cannot seek; read up to it and pass 0")
    elif not blocking:
        raise ValueError(
            "non-blocking sockets are not supported for a file that cannot seek: what was read and"
            " not accepted would be lost; set a timeout, or read and send yourself"
        )
    left = count
    while left is None or left > 0:
        data = file.read(READ_LEN if left is None else min(left, READ_LEN))
        if data is None:
            raise BlockingIOError(errno.EAGAIN, "the file has nothing to read now")
        view = memoryview(data).cast("B")
        if not view:
            return
        if left is not None:
            left -= len(view)
        part = stream.send(data)
        yield part
        while part < len(view):
            view = view[part:]
            part = stream.send(view)
            yield part


def _check(file: object, offset: int, count: int | None) -> None:
    mode = getattr(file, "mode", "b")
    if isinstance(file, io.TextIOBase) or (isinstance(mode, str) and "b" not in mode):
        raise ValueError("file should be opened in binary mode")
    if not isinstance(offset, int):
        raise TypeError(f"offset must be an int (got {offset!r})")
    if offset < 0:
        raise ValueError(f"offset must not be negative (got {offset})")
    if count is not None and not isinstance(count, int):
        raise TypeError(f"count must be a positive integer (got {count!r})")
    if count is not None and count <= 0:
        raise ValueError(f"count must be a positive integer (got {count})")


def _regular_fd(file: Readable) -> int | None:
    """The descriptor of a regular file that is not empty (one of /proc only looks so)."""
    try:
        fd: int = file.fileno()  # type: ignore[attr-defined]  # AttributeError is an answer
        status = os.fstat(fd)
    except (AttributeError, OSError):
        return None
    return fd if stat.S_ISREG(status.st_mode) and status.st_size else None


def _is_seekable(file: Readable) -> bool:
    seekable = getattr(file, "seekable", None)
    return hasattr(file, "seek") if seekable is None else bool(seekable())
