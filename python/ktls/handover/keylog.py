"""Where the secrets come from: key log files that OpenSSL appends to and this process reads back.

A prepared context logs into a memory file of this process, or, when its user had set
`keylog_filename` already, into the user's file, which is only ever read here. A memory file is made
anew in a forked child.
"""

import os
import stat
import threading
import weakref

from ktls._core import KeyLog, Secret

__all__ = ["Log", "Registration", "process_log", "renew_after_fork", "user_log"]


class Log:
    """A key log file and the reader of it; the file descriptor is closed with the last user."""

    def __init__(self, fd: int, path: str, *, in_memory: bool) -> None:
        self.path = path
        self.in_memory = in_memory
        self._fd = fd
        self.reader = KeyLog(fd, wipe=in_memory)
        weakref.finalize(self, os.close, fd).atexit = False

    def renew(self) -> None:
        """Forget every handshake: a forked child has none of its parent's."""
        self.reader = KeyLog(self._fd, wipe=self.in_memory)


class Registration:
    """The interest of one handshake in lines of the key log; without it they are dropped."""

    def __init__(self, log: Log) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._logs = [log]
        self._randoms: list[bytes] = []

    def add_random(self, client_random: bytes) -> None:
        """Keep what is logged under this random; the same one again changes nothing."""
        with self._lock:
            if client_random not in self._randoms:
                self._randoms.append(client_random)
                for log in self._logs:
                    log.reader.register(client_random)

    def add_log(self, log: Log) -> None:
        """Read this log, too: an SNI callback may put another context in place in mid-handshake."""
        with self._lock:
            if log not in self._logs:
                self._logs.append(log)
                for client_random in self._randoms:
                    log.reader.register(client_random)

    def secrets(self, client_random: bytes) -> list[Secret]:
        """Return every secret logged so far under a random that was added."""
        return [secret for log in self._logs for secret in log.reader.secrets(client_random)]

    def release(self) -> None:
        """Lose interest; the secrets are wiped.  A second call does nothing.

        Nor does one in a forked child: the log is its parent's, who may not have read it yet.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            for log in self._logs:
                for client_random in self._randoms:
                    log.reader.release(client_random)
            self._logs.clear()
            self._randoms.clear()

    def __del__(self) -> None:
        self.release()


_process_log: Log | None = None
_user_logs: weakref.WeakValueDictionary[tuple[int, int], Log] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def process_log() -> Log:
    """Return the memory file that all contexts of this process share.

    OSError where the system has no memory files or no /proc to name one by.
    """
    global _process_log
    with _lock:
        if _process_log is None:
            fd = os.memfd_create("ktls-keylog", os.MFD_CLOEXEC)
            path = f"/proc/{os.getpid()}/fd/{fd}"
            try:
                os.stat(path)
            except OSError:
                os.close(fd)
                raise
            _process_log = Log(fd, path, in_memory=True)
        return _process_log


def user_log(path: str) -> Log:
    """Return a reader of the key log file that the user chose; nothing but reading is done to it.

    OSError when it cannot be read back; the message says why.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("not a regular file")
    with _lock:
        log = _user_logs.get((status.st_dev, status.st_ino))
        if log is None:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            log = _user_logs[status.st_dev, status.st_ino] = Log(fd, path, in_memory=False)
        return log


def renew_after_fork() -> None:
    """In a forked child: forget the parent's memory file and the handshakes it had under way."""
    global _lock, _process_log
    _lock = threading.Lock()
    _process_log = None
    for log in list(_user_logs.values()):
        log.renew()
