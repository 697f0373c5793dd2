"""The file that is sent: made once, hot in the page cache, or dropped from it before a run."""

import contextlib
import os
import shutil
import time
from pathlib import Path

_BLOCK_LEN = 16 << 20
_PROBES = 8
_TRIES = 20
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


def drop(path: str) -> None:
    """Take the file out of the page cache.

    RuntimeError when it stays, or when nobody can say: a file system in memory, say.
    """
    cached = _drop_pages(path)
    if cached:
        # Pages that `sendfile` lent to a connection stay while the kernel keeps anything of it,
        # which may be after its end.  A copy has lent none.
        with contextlib.suppress(OSError):
            _replace_by_copy(path)
        cached = _drop_pages(path)
    for _ in range(_TRIES):
        if not cached:
            return
        # They are still being written, or looked at by whoever reclaims memory.
        time.sleep(0.1)
        cached = _drop_pages(path)
    if cached:
        raise RuntimeError(f"{cached} of {_PROBES} places of the file stayed in memory; {_REMEDY}")


def _drop_pages(path: str) -> int:
    """How many of some places are still in memory afterwards."""
    fd = os.open(path, os.O_RDONLY)
    try:
        # Nothing is read ahead: a look at one place must not bring in the next.
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            return _cached(fd)
        except OSError as error:
            raise RuntimeError(f"preadv2 with RWF_NOWAIT: {error.strerror}; {_REMEDY}") from None
        finally:
            # The look itself may have begun to read.
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


def _replace_by_copy(path: str) -> None:
    fresh = path + ".copy"
    shutil.copyfile(path, fresh)
    fd = os.open(fresh, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(fresh, path)


def _cached(fd: int) -> int:
    step = os.fstat(fd).st_size // _PROBES
    found = 0
    for index in range(_PROBES):
        with contextlib.suppress(BlockingIOError):
            found += os.preadv(fd, [bytearray(1)], index * step + step // 2, os.RWF_NOWAIT)
    return found
