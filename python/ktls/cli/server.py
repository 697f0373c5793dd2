"""Accepts connections and gives each a thread of its own, from the handshake to the close.

No client waits for another's handshake, request or download.  What a client may take is limited:
one of ``Limits.connections`` threads, and its times; past the last free thread newcomers wait in
the listening queue.
"""

import errno
import socket
import socketserver
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import ktls
from ktls.cli import linger
from ktls.cli.answer import RESOURCES_SHORT
from ktls.cli.http import HTTPConnection
from ktls.cli.limits import Limits
from ktls.cli.report import Response


@dataclass(frozen=True, slots=True)
class Unsent:
    """What is left to send when the server stops."""

    connections: int
    bytes: int
    """About: of the answers under way, what TCP has not had acknowledged."""


class FileServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serves `directory` to TLS clients; `report` gets each response, `note` a line per failure."""

    allow_reuse_address = True
    request_queue_size = 1024
    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        directory: Path,
        context: ssl.SSLContext,
        limits: Limits,
        *,
        report: Callable[[Response], None],
        note: Callable[[str], None],
    ) -> None:
        """`context` has been through ``ktls.prepare``.  OSError when the address cannot be had."""
        self.directory = directory.resolve(strict=True)
        self.limits = limits
        self.report = report
        self.note = note
        self.stopping = False
        self._context = context
        self._free = threading.Semaphore(limits.connections)
        self._live: set[HTTPConnection] = set()
        self._changed = threading.Condition()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, socketserver.BaseRequestHandler)

    # -- accepting, in the thread of serve_forever -------------------------------------------------

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """Accept a connection when there is a thread to spare for it."""
        while not self._free.acquire(timeout=0.2):
            if self.stopping:
                raise OSError(errno.ECANCELED, "stopping")
        try:
            return self.socket.accept()
        except OSError as error:
            self._free.release()
            if error.errno in RESOURCES_SHORT:
                # The connection stays in the queue: without a pause this would spin until one ends.
                self.note(f"cannot accept: {error.strerror}")
                time.sleep(0.2)
            raise

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        """Start the connection's thread."""
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    # -- one connection, in its own thread ---------------------------------------------------------

    def process_request_thread(
        self,
        request: socket.socket,  # type: ignore[override]
        client_address: tuple[str, int],
    ) -> None:
        """Serve the connection and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def finish_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        """Shake hands within the limit, then answer requests until one side has had enough."""
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel ends a connection without progress, also while it drains after its close.
        patience_ms = int(self.limits.send_s * 1000)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience_ms)
        request.settimeout(self.limits.handshake_s)
        connection = ktls.wrap_socket(
            request, self._context, server_side=True, do_handshake_on_connect=False
        )
        served = HTTPConnection(connection, self)
        with connection, self._entered(served):
            if self.stopping:
                return
            try:
                connection.do_handshake()
            except (OSError, ktls.KTLSError) as error:
                self.note(f"{address_text(client_address)}: no handshake: {error}")
                return
            served.serve()
            linger.part(connection)

    def handle_error(self, request: object, client_address: tuple[str, int]) -> None:
        """Say in a line what the client did; anything else is a bug and shows its traceback."""
        error = sys.exception()
        if isinstance(error, (OSError, ktls.KTLSError)):
            self.note(f"{address_text(client_address)}: {error}")
        else:
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    # -- the end -----------------------------------------------------------------------------------

    @contextmanager
    def _entered(self, served: HTTPConnection) -> Iterator[None]:
        """Count `served` among those that the end waits for."""
        with self._changed:
            self._live.add(served)
        try:
            yield
        finally:
            with self._changed:
                self._live.discard(served)
                self._changed.notify_all()

    def stop(self) -> None:
        """Accept nobody more, hang up on the idle, let answers under way end.

        Called from another thread than serve_forever's.
        """
        self.stopping = True
        self.shutdown()
        self.server_close()
        for served in self._left():
            with suppress(OSError):
                # Whoever waits for a request sees the end; whoever sends goes on.
                served.connection.shutdown(socket.SHUT_RD)

    def unsent(self) -> Unsent:
        """What clients have still to take: it changes as long as one of them takes something."""
        left, total_len = self._left(), 0
        for served in left:
            # One that has just ended has nothing left to say.
            with suppress(OSError):
                total_len += served.unsent_len()
        return Unsent(len(left), total_len)

    def drop(self, patience_s: float) -> None:
        """Reset what is left; `patience_s` is for reporting the answers that break off."""
        for served in self._left():
            served.connection.abort()
        with self._changed:
            self._changed.wait_for(lambda: not self._live, patience_s)

    def _left(self) -> list[HTTPConnection]:
        with self._changed:
            return list(self._live)


def address_text(address: tuple[str, int]) -> str:
    """``host:port``, as URLs write it."""
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
