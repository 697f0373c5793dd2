"""The file that is sent: made once, hot in the page cache, or dropped from it before a run."""

import contextlib
import os
import time
from pathlib import Path

_BLOCK_LEN = 16 << 20
_PROBES = 8
_REMEDY = "name a directory on a disk with --directory"


def make(directory: Path, size: int) -> Path:
    """A file of `size` bytes on disk and in the page cache."""
    path = directory / "payload"
    block = os.urandom(_BLOCK_LEN)
    with path.open("wb") as file:
        for start in range(0, size, _BLOCK_LEN):
            file.write(block[: size - start])
        file.flush()
        # Only clean pages can be dropped.
        os.fsync(file.fileno())
    return path


def drop(path: str, patience_s: float = 5.0) -> None:
    """Take the file out of the page cache.

    RuntimeError when it stays, or when nobody can say: a file system in memory, say.  Pages that
    `sendfile` gave to a connection stay until its last byte was read; that is waited for.
    """
    end = time.monotonic() + patience_s
    fd = os.open(path, os.O_RDONLY)
    try:
        while True:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            try:
                cached = _cached(fd)
            except OSError as error:
                why = f"preadv2 with RWF_NOWAIT: {error.strerror}; {_REMEDY}"
                raise RuntimeError(why) from None
            if not cached or time.monotonic() >= end:
                break
            time.sleep(0.02)
        # The look itself may have begun to read.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    if cached:
        raise RuntimeError(f"{cached} of {_PROBES} places of the file stayed in memory; {_REMEDY}")


def _cached(fd: int) -> int:
    step = os.fstat(fd).st_size // _PROBES
    found = 0
    for index in range(_PROBES):
        with contextlib.suppress(BlockingIOError):
            found += os.preadv(fd, [bytearray(1)], index * step + step // 2, os.RWF_NOWAIT)
    return found
