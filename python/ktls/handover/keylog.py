"""Where the secrets come from: key log files that OpenSSL appends to and this process reads back.

A prepared context logs into a memory file of this process, or, when its user had set
`keylog_filename` already, into the user's file, which is only ever read here. A forked child has a
memory file of its own, and readers of its own.
"""

import os
import stat
import threading
import weakref

from ktls._core import KeyLog
from ktls.per_process import PerProcess


class Log:
    """A key log file and the reader of it, which has a descriptor of its own."""

    def __init__(self, reader: KeyLog, path: str, *, in_memory: bool) -> None:
        self.reader = reader
        self.path = path
        self.in_memory = in_memory


def _memory_log() -> Log:
    reader = KeyLog.in_memory()
    path = f"/proc/{os.getpid()}/fd/{reader.fileno()}"
    os.stat(path)
    return Log(reader, path, in_memory=True)


process_log = PerProcess(_memory_log)
"""The memory file that all contexts of this process share.

OSError where the system has no memory files or no /proc to name one by.
"""


class _UserLogs:
    """Readers of files that users chose, by device and inode."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.logs: weakref.WeakValueDictionary[tuple[int, int], Log] = weakref.WeakValueDictionary()


_user_logs = PerProcess(_UserLogs)


def user_log(path: str) -> Log:
    """Return a reader of the key log file that the user chose; nothing but reading is done to it.

    OSError when it cannot be read back; the message says why.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file")
    known = _user_logs()
    with known.lock:
        log = known.logs.get((status.st_dev, status.st_ino))
        if log is None:
            with open(path, "rb", buffering=0) as file:
                reader = KeyLog(file.fileno(), wipe=False)
            log = known.logs[status.st_dev, status.st_ino] = Log(reader, path, in_memory=False)
        return log
