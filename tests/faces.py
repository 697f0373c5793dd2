"""A ``ktls.Socket``, a ``TLSSocket`` and a stock ``ssl.SSLSocket``, each with a peer that opens.

For tests that hold ours against the standard library's in the same case.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ktls
from keyed_link import connected, parameters
from record_reader import SUITES, RecordReader, Secrets, Suite, raw_records

Wrap = Callable[..., Any]


@dataclass
class Face:
    """A socket to send on, its peer, and what reads all that arrives there up to the end.

    `arrived` takes a function that is called before each record or read.
    """

    sock: Any
    peer: socket.socket = field(repr=False)
    arrived: Callable[..., bytes] = field(repr=False)


@contextmanager
def keyed(suite: Suite = SUITES[3], *, small: bool = False) -> Iterator[Face]:
    """A ``ktls.Socket`` with a session."""
    near, far = connected(small=small)
    secrets = Secrets(suite)
    far.settimeout(20)
    with ktls.Socket(near) as sock, far:
        sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, parameters(secrets))

        def arrived(before_each: Callable[[], object] = bool) -> bytes:
            reader = RecordReader(secrets)
            data = bytearray()
            for record in raw_records(far):
                before_each()
                content_type, payload = reader.open(record)
                assert content_type == 23
                data += payload
            return bytes(data)

        yield Face(sock, far, arrived)


@contextmanager
def handshaken(wrap: Wrap, client: ssl.SSLContext, *, small: bool = False) -> Iterator[Face]:
    """A server's socket that `wrap` made, and a stock client."""
    near, far = connected(small=small)
    far.settimeout(20)
    with ThreadPoolExecutor(1) as pool:
        wrapped = pool.submit(wrap, near, server_side=True)
        peer = client.wrap_socket(far, server_hostname="localhost")
        sock = wrapped.result(20)
    with sock, peer:

        def arrived(before_each: Callable[[], object] = bool) -> bytes:
            data = bytearray()
            while part := peer.recv(16384):
                before_each()
                data += part
            return bytes(data)

        yield Face(sock, peer, arrived)
