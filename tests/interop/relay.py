"""A relay between client and server: may forward byte by byte, and notes the client's records."""

import select
import socket
import threading
from contextlib import suppress
from typing import Self

from interop.server import TIMEOUT

HEADER_LEN = 5


class Relay:
    """Forwards one connection; `piece`: the most bytes of the client's that are one segment.

    `lengths`: the length fields of the records that the client sent, its handshake's included.
    """

    def __init__(self, server: socket.socket, piece: int) -> None:
        self.lengths: list[int] = []
        self._piece = piece
        self._unread = b""
        self._skipped = 0
        self._server = server.getsockname()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def _run(self) -> None:
        self._listener.settimeout(TIMEOUT)
        # The test ended without a client, or one end is gone: what came of it is seen there.
        with suppress(OSError):
            client, _ = self._listener.accept()
            with client, socket.create_connection(self._server, TIMEOUT) as server:
                server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.settimeout(TIMEOUT)
                self._forward(client, server)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        routes = {client: server, server: client}
        while routes:
            ready, _, _ = select.select(list(routes), [], [], TIMEOUT)
            if not ready:
                return
            for sock in ready:
                data = sock.recv(65536)
                if not data:
                    routes.pop(sock).shutdown(socket.SHUT_WR)
                elif sock is server:
                    client.sendall(data)
                else:
                    self._note(data)
                    for at in range(0, len(data), self._piece):
                        server.sendall(data[at : at + self._piece])

    def _note(self, data: bytes) -> None:
        self._unread += data[self._skipped :]
        self._skipped = max(0, self._skipped - len(data))
        while len(self._unread) >= HEADER_LEN:
            length = int.from_bytes(self._unread[3:HEADER_LEN], "big")
            self.lengths.append(length)
            size = HEADER_LEN + length
            self._skipped = max(0, size - len(self._unread))
            self._unread = self._unread[size:]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Wakes an accept that nobody connects to.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
