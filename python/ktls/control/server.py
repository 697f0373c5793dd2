"""The control socket of this process, and the thread ``KTLS-control`` that answers on it.

It waits with the descriptors of the system also where gevent or eventlet has patched them, and has
bounds for everything: clients, lines, what is held for a client, the time that one may be silent,
wrong requests, and the share of the interpreter that it takes from the program.
"""

import _socket
import contextlib
import errno
import os
import select
import signal
import struct
import threading
import time
from collections import deque
from pathlib import Path
from typing import Final

from ktls import waiting
from ktls._core import fork_count
from ktls.control import protocol, runtime_dir
from ktls.control.answers import answer
from ktls.control.budget import Budget
from ktls.control.protocol import LineReader, ProtocolError

CLIENTS_MAX: Final = 16
IDLE_S: Final = 30.0
"""Without a request, or without taking an answer."""
EVICTED_AFTER_S: Final = 1.0
"""Of silence, where another client has no place."""
WRONG_MAX: Final = 8
"""Lines that are no request; then the client is dropped."""
BURST_S: Final = 0.5
SHARE: Final = 0.05
"""Seconds of work at once, and the share of the time that is earned for more."""
BACKLOG: Final = 64
_READ_SIZE: Final = 1024
_CREDENTIALS: Final = struct.Struct("3i")
_NAME: Final = "KTLS-control"


class _Client:
    """One connection: lines that wait for their turn, and what is to be sent."""

    def __init__(self, sock: _socket.socket, now_s: float) -> None:
        self.socket = sock
        self.reader = LineReader()
        self.lines: deque[bytes] = deque()
        self.unsent = b""
        self.since_s = now_s
        self.wrong = 0
        self.is_last = False

    @property
    def events(self) -> int:
        """What it waits for: one answer at a time, so no more than that is ever held."""
        return select.POLLOUT if self.unsent else select.POLLIN


class ControlServer:
    """Serves until ``close``, or to the end of the interpreter.

    Raises OSError: EPERM for a directory that is not this user's alone, ENAMETOOLONG.
    """

    def __init__(self) -> None:
        self.path = runtime_dir.socket_path(runtime_dir.own(), os.getpid())
        self._fork_count = fork_count()
        self._listener = _listen(self.path)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._clients: dict[int, _Client] = {}
        self._is_closing = False
        self._accepts_from_s = 0.0
        self._users = {os.geteuid(), 0}
        # Those of the system: a hub of greenlets would have to run for them.
        self._ended = waiting.original("_thread", "allocate_lock")()
        self._ended.acquire()
        waiting.original("_thread", "start_new_thread")(self._main, ())

    @property
    def is_closed(self) -> bool:
        """Whether it has ended, or belongs to the process that this one was forked from."""
        return self._is_closing or self._fork_count != fork_count()

    def close(self) -> None:
        """End the thread and remove the socket; again, and in a forked child, nothing."""
        if self.is_closed:
            return
        self._is_closing = True
        self.path.unlink(missing_ok=True)
        os.eventfd_write(self._wake, 1)
        with self._ended:
            pass
        # Here, not in the thread: the number would be another's before it is written to.
        os.close(self._wake)

    def forget(self) -> None:
        """Close, in a forked child, what belongs to the parent: it would keep tools waiting."""
        for client in self._clients.values():
            client.socket.close()
        self._listener.close()
        os.close(self._wake)

    def _main(self) -> None:
        # The program's handlers run in its main thread, which a signal is to wake.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        threading.current_thread().name = _NAME
        with contextlib.suppress(OSError):
            Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(_NAME)
        try:
            self._serve()
        finally:
            for client in self._clients.values():
                client.socket.close()
            self._listener.close()
            self._ended.release()

    def _serve(self) -> None:
        budget = Budget(BURST_S, SHARE, time.monotonic())
        while not self._is_closing:
            ready = self._wait()
            began_s = time.thread_time()
            now_s = time.monotonic()
            for client in list(self._clients.values()):
                if client.socket.fileno() in ready:
                    self._attend(client, now_s)
            if self._listener.fileno() in ready:
                self._accept(now_s)
            self._drop_silent(now_s)
            rest_s = budget.spend(time.thread_time() - began_s, time.monotonic())
            if rest_s > 0:
                self._rest(rest_s)

    def _wait(self) -> set[int]:
        """The descriptors that have something to do."""
        poll = waiting.original("select", "poll")()
        poll.register(self._wake, select.POLLIN)
        now_s = time.monotonic()
        is_accepting = now_s >= self._accepts_from_s
        if is_accepting:
            poll.register(self._listener.fileno(), select.POLLIN)
        for descriptor, client in self._clients.items():
            poll.register(descriptor, client.events)
        if any(client.lines and not client.unsent for client in self._clients.values()):
            timeout_s: float | None = 0.0
        else:
            ends_s = [client.since_s + IDLE_S for client in self._clients.values()]
            if not is_accepting:
                ends_s.append(self._accepts_from_s)
            timeout_s = max(0.0, min(ends_s) - now_s) if ends_s else None
        timeout_ms = None if timeout_s is None else int(timeout_s * 1000) + (timeout_s > 0)
        ready = {descriptor for descriptor, _ in poll.poll(timeout_ms)}
        waiting_lines = {
            descriptor
            for descriptor, client in self._clients.items()
            if client.lines and not client.unsent
        }
        return ready | waiting_lines

    def _rest(self, seconds: float) -> None:
        poll = waiting.original("select", "poll")()
        poll.register(self._wake, select.POLLIN)
        poll.poll(int(seconds * 1000) + 1)

    def _accept(self, now_s: float) -> None:
        try:
            descriptor, _ = self._listener._accept()  # type: ignore[attr-defined]  # socket.accept without its class
        except BlockingIOError:
            return
        except OSError:
            # Out of descriptors, say: the program needs them more.
            self._accepts_from_s = now_s + EVICTED_AFTER_S
            return
        sock = _socket.socket(fileno=descriptor)
        sock.setblocking(False)
        client = _Client(sock, now_s)
        if not self._is_user(sock):
            self._refuse(client, OSError(errno.EPERM, "the process belongs to another user"))
        elif len(self._clients) >= CLIENTS_MAX and not self._evict(now_s):
            self._refuse(client, OSError(errno.EBUSY, f"{CLIENTS_MAX} clients are connected"))
        else:
            self._clients[descriptor] = client
            self._say(client, protocol.hello(os.getpid()))

    def _is_user(self, sock: _socket.socket) -> bool:
        packed = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(packed)
        return uid in self._users

    def _refuse(self, client: _Client, error: OSError) -> None:
        with contextlib.suppress(OSError):
            client.socket.send(protocol.show_error(error), _socket.MSG_NOSIGNAL)
        client.socket.close()

    def _evict(self, now_s: float) -> bool:
        """Drop the client that has been silent for longest, if it has been for a while."""
        oldest = min(self._clients.values(), key=lambda client: client.since_s)
        if now_s - oldest.since_s < EVICTED_AFTER_S:
            return False
        self._drop(oldest)
        return True

    def _drop(self, client: _Client) -> None:
        self._clients.pop(client.socket.fileno(), None)
        client.socket.close()

    def _drop_silent(self, now_s: float) -> None:
        for client in list(self._clients.values()):
            if now_s - client.since_s >= IDLE_S:
                self._drop(client)

    def _attend(self, client: _Client, now_s: float) -> None:
        """Do one thing for a client: send, answer a line, or read."""
        try:
            if client.unsent:
                self._say(client, b"", now_s)
            elif client.lines:
                self._answer(client, client.lines.popleft(), now_s)
            else:
                self._read(client)
        except OSError:
            self._drop(client)

    def _read(self, client: _Client) -> None:
        try:
            data = client.socket.recv(_READ_SIZE)
        except BlockingIOError:
            return
        if not data:
            self._drop(client)
            return
        try:
            client.lines.extend(client.reader.feed(data))
        except ProtocolError as error:
            client.is_last = True
            self._say(client, protocol.show_error(error))

    def _answer(self, client: _Client, line: bytes, now_s: float) -> None:
        try:
            said = protocol.show_result(answer(protocol.parse_request(line)))
        except ProtocolError as error:
            said = protocol.show_error(error)
            client.wrong += 1
            client.is_last = client.wrong >= WRONG_MAX
        except (OSError, KeyError, ValueError, TypeError) as error:
            said = protocol.show_error(error)
        except Exception as error:
            # A fault of ours ends no thread that others need.
            fault = OSError(errno.EIO, f"the process could not answer: {type(error).__name__}")
            said = protocol.show_error(fault)
        self._say(client, said, now_s)

    def _say(self, client: _Client, said: bytes, now_s: float | None = None) -> None:
        """Send what there is; what the socket does not take waits, and nothing is read meanwhile.

        `now_s`: the client has done something worth its place.
        """
        if now_s is not None:
            client.since_s = now_s
        client.unsent += said
        try:
            sent = client.socket.send(client.unsent, _socket.MSG_NOSIGNAL)
            client.unsent = client.unsent[sent:]
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        if client.is_last and not client.unsent:
            self._drop(client)


def _listen(path: Path) -> _socket.socket:
    """A listening socket with this name; one that a process left which had the number is gone."""
    # It gets its name when it listens: until then a client would take it for one that is left over.
    beside = path.with_name(f".{path.name}")
    beside.unlink(missing_ok=True)
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        try:
            listener.bind(str(beside))
        except OSError as error:
            if error.errno is not None:
                raise
            raise OSError(
                errno.ENAMETOOLONG, f"{path} is too long for a socket; set XDG_RUNTIME_DIR"
            ) from None
        beside.chmod(0o600)
        listener.listen(BACKLOG)
        beside.rename(path)
    except BaseException:
        listener.close()
        raise
    return listener
