"""A relay between the two ends of a connection: records what passes, and can corrupt it."""

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Self

from handover.pairs import TIMEOUT, Pair
from ktls import wrap_socket


class Relay:
    """`from_us` and `to_us` hold every byte that passed, for whoever sits on the wire."""

    def __init__(self) -> None:
        self.from_us = bytearray()
        self.to_us = bytearray()
        self._corrupt: bool | None = None
        self._near, self._our_end = _tcp_pair()
        self._far, self._their_end = _tcp_pair()
        self._stop, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def corrupt_next(self, *, to_us: bool) -> None:
        """Change the last byte of what passes next in this direction."""
        self._corrupt = to_us

    @contextmanager
    def pair(
        self, ours: ssl.SSLContext, theirs: ssl.SSLContext, *, server_side: bool
    ) -> Iterator[Pair]:
        """Both ends of a connection through this relay, after the handshake."""
        self._near.settimeout(TIMEOUT)
        self._far.settimeout(TIMEOUT)
        their_name = "localhost" if server_side else None
        with ThreadPoolExecutor(1) as pool:
            peer = pool.submit(
                theirs.wrap_socket,
                self._far,
                server_side=not server_side,
                server_hostname=their_name,
            )
            own = wrap_socket(
                self._near,
                ours,
                server_side=server_side,
                server_hostname=None if server_side else "localhost",
            )
            other = peer.result(TIMEOUT)
        with own, other:
            yield own, other

    def _run(self) -> None:
        routes = {
            self._our_end: (self._their_end, self.from_us, False),
            self._their_end: (self._our_end, self.to_us, True),
        }
        while True:
            ready, _, _ = select.select([*routes, self._stopped], [], [])
            if self._stopped in ready:
                return
            for sock in ready:
                to, record, to_us = routes[sock]
                try:
                    data = bytearray(sock.recv(65536))
                    record += data
                    if data and self._corrupt is to_us:
                        self._corrupt = None
                        data[-1] ^= 1
                    to.sendall(data)
                except OSError:
                    data = bytearray()
                if not data:
                    del routes[sock]
                    with suppress(OSError):  # it may be gone already
                        to.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        self._thread.join()
        for sock in (self._near, self._far, self._our_end, self._their_end, self._stopped):
            sock.close()


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    return near, far
