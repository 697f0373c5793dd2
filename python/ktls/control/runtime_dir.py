"""Where control sockets lie: a directory that only its user can enter, one socket for a process.

``$XDG_RUNTIME_DIR/ktls`` where that variable names a directory of the user's, else
``ktls-UID`` below the directory for temporary files. The socket is ``PID.sock``.
"""

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

SUFFIX: Final = ".sock"


def own() -> Path:
    """The directory of this user, which is made where it is missing.

    Raises OSError EPERM for one that somebody else made, or that others may enter.
    """
    path = _place()
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise OSError(
            errno.EPERM,
            f"{path} is not a directory of this user; remove it, or set XDG_RUNTIME_DIR",
        )
    if found.st_mode & 0o077:
        raise OSError(errno.EPERM, f"{path} may be entered by others; chmod 700 {path}")
    return path


def of_user(uid: int) -> list[Path]:
    """Where processes of this user may have their sockets; nothing is made."""
    places = [Path(tempfile.gettempdir(), f"ktls-{uid}"), Path(f"/run/user/{uid}/ktls")]
    if uid == os.geteuid():
        places.append(_place())
    return sorted({place for place in places if _belongs_to(place, uid)})


def socket_path(directory: Path, pid: int) -> Path:
    """Where the socket of a process is."""
    return directory / f"{pid}{SUFFIX}"


def pid_of(path: Path) -> int | None:
    """The process whose socket this is; None for another kind of name."""
    stem = path.name.removesuffix(SUFFIX)
    return int(stem) if path.suffix == SUFFIX and stem.isdecimal() and stem.isascii() else None


def _place() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and _belongs_to(Path(runtime), os.geteuid()):
        return Path(runtime, "ktls")
    return Path(tempfile.gettempdir(), f"ktls-{os.geteuid()}")


def _belongs_to(path: Path, uid: int) -> bool:
    """Whether it is a directory of this user; of one that cannot be looked at that is not known."""
    try:
        found = path.lstat()
    except PermissionError:
        return True
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid
