"""How ``sendfile`` sends a file: by the engine where that is the same as reading it, else it reads.

Nothing here knows about TLS.  What is sent is what the file's ``read`` gives from the offset on: an
object that decompresses, decrypts or filters sends what it reads, not what lies behind its
descriptor.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from typing import TYPE_CHECKING, Any, Final, Protocol

from ktls.byte_view import byte_view

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

READ_LEN: Final = 262144
"""Bytes read at once from what the engine cannot read itself: one flush unit."""


class Sender(Protocol):
    """The part of a stream that is needed here."""

    def send_counted(self, data: ReadableBuffer, accepted: list[int], /) -> int:
        """As ``SendStream.send_counted``."""

    def sendfile(self, fd: int, offset: int, count: int, file: Any, before: int, /) -> int:
        """As ``SendStream.sendfile``."""


class Readable(Protocol):
    """A binary file or anything like one.  ``fileno``, ``seek`` and ``mode`` are optional."""

    def read(self, size: int, /) -> bytes | None:
        """At most `size` bytes; empty at the end, None when there is nothing now."""


def send_file(
    stream: Sender, file: Readable, offset: int, count: int | None, *, blocking: bool
) -> int:
    """The work of ``Socket.sendfile``, which documents it."""
    _check(file, offset, count)
    seekable = _is_seekable(file)
    if seekable:
        # Also writes what a BufferedRandom has not written, and refuses a closed file.
        file.seek(offset)  # type: ignore[attr-defined]  # it is seekable
    raw = _raw_file(file)
    size = None if raw is None else _proven_size(raw.fileno(), offset)
    if size is not None:
        end = size if count is None else min(size, offset + count)
        return _by_engine(stream, raw, offset, end)
    if not seekable and offset:
        raise ValueError(f"offset is {offset}, but the file cannot seek; read up to it and pass 0")
    if not seekable and not blocking:
        raise ValueError(
            "non-blocking sockets are not supported for a file that cannot seek: what was read and"
            " not accepted would be lost; set a timeout, or read and send yourself"
        )
    return _by_reading(stream, file, offset, count)


def _by_engine(stream: Sender, raw: Any, offset: int, end: int) -> int:
    """Leave the file's position to the engine, which sets it to what was accepted."""
    fd = raw.fileno()
    file = raw if hasattr(raw, "seek") else None
    position = offset
    try:
        while position < end:
            part = stream.sendfile(fd, position, end - position, file, position - offset)
            if part == 0:
                break
            position += part
    except BlockingIOError:
        if position == offset:
            raise
    return position - offset


def _by_reading(stream: Sender, file: Readable, offset: int, count: int | None) -> int:
    accepted: list[int] = []
    try:
        while count is None or count > 0:
            data = file.read(READ_LEN if count is None else min(count, READ_LEN))
            if data is None:
                raise BlockingIOError(errno.EAGAIN, "the file has nothing to read now")
            view = byte_view(data)[:count]
            if not view:
                break
            if count is not None:
                count -= len(view)
            while view:
                view = view[stream.send_counted(view, accepted) :]
    except BlockingIOError:
        if not accepted:
            raise
    finally:
        if _is_seekable(file):
            file.seek(offset + sum(accepted))  # type: ignore[attr-defined]  # it is seekable
    return sum(accepted)


def _check(file: object, offset: int, count: int | None) -> None:
    if not hasattr(file, "read") and not hasattr(file, "fileno"):
        raise TypeError(f"{file!r} is no file; open it with open(..., 'rb') and pass that")
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


def _raw_file(file: Any) -> Any:
    """The file whose ``read`` gives what its descriptor has, and nothing else; None: there is none.

    Exact types, since a subclass may read otherwise.
    """
    wrapper = getattr(sys.modules.get("tempfile"), "_TemporaryFileWrapper", None)
    if wrapper is not None and type(file) is wrapper:
        file = file.file
    if type(file) is io.FileIO:
        return file
    if type(file) in (io.BufferedReader, io.BufferedRandom):
        return file if type(file.raw) is io.FileIO else None
    # What cannot be read otherwise.
    return file if not hasattr(file, "read") and hasattr(file, "fileno") else None


def _proven_size(fd: int, offset: int) -> int | None:
    """The length of a regular file that can be read from `offset` on, else None.

    The engine promises bytes before it reads them.  So a length is believed only where blocks hold
    it, which those of /proc and /sys have not, and after a read, which a descriptor that is not
    open for reading, or has no content, refuses.
    """
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or not status.st_blocks:
        return None
    if offset >= status.st_size:
        return status.st_size
    try:
        if not os.preadv(fd, [bytearray(1)], offset, os.RWF_NOWAIT):
            return None
    except BlockingIOError:
        # It is on the disk.
        pass
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP or not _can_be_read(fd, offset):
            return None
    return status.st_size


def _can_be_read(fd: int, offset: int) -> bool:
    """The same where the file system knows no read that does not wait."""
    try:
        return len(os.pread(fd, 1, offset)) == 1
    except OSError:
        return False


def _is_seekable(file: Readable) -> bool:
    seekable = getattr(file, "seekable", None)
    return hasattr(file, "seek") if seekable is None else bool(seekable())
