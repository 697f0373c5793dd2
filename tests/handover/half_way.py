"""A hand-over that waits in the middle of its handshake, and its peer."""

import select
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Self

import pytest

from handover.pairs import TIMEOUT, tcp_pair
from ktls import wrap_socket
from ktls.handover import keylog


class HalfWay:
    """A hand-over of a server that has answered the hello; its peer waits to be told to go on."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext) -> None:
        self.sock, far = tcp_pair()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.peer = client.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.own = wrap_socket(far, server, server_side=True, do_handshake_on_connect=False)

    def __enter__(self) -> Self:
        try:
            with pytest.raises(ssl.SSLWantReadError):
                self.peer.do_handshake()
            self.hello = self.outgoing.read()
            self.sock.sendall(self.hello)
            assert select.select([self.own], [], [], TIMEOUT)[0]
            self.own.setblocking(False)
            with pytest.raises(ssl.SSLWantReadError):
                self.own.do_handshake()
            assert len(keylog.process_log().reader) == 1
        except BaseException:
            self.__exit__()
            raise
        return self

    def finish(self) -> None:
        """Both go on, to the end."""
        self.own.settimeout(TIMEOUT)
        with ThreadPoolExecutor(1) as pool:
            shaken = pool.submit(self.own.do_handshake)
            while self.peer.version() is None:
                self.receive()
                with suppress(ssl.SSLWantReadError):
                    self.peer.do_handshake()
                self.sock.sendall(self.outgoing.read())
            shaken.result(TIMEOUT)

    def receive(self) -> None:
        """The peer gets what has come."""
        data = self.sock.recv(65536)
        assert data
        self.incoming.write(data)

    def read(self) -> bytes:
        """What the peer can read now."""
        with suppress(ssl.SSLWantReadError):
            return self.peer.read(65536)
        return b""

    def __exit__(self, *_: object) -> None:
        self.sock.close()
        self.own.close()
