"""Two sockets with each other's keys, in one suite: what one sends the other receives."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ktls
from full_link import until
from ktls import backends

GCM = ktls.CRYPTO_AES_NIST_GCM_16
CHACHA = ktls.CRYPTO_CHACHA20_POLY1305
SUITES = {
    "tls12_gcm": (3, GCM, 16),
    "tls12_chacha20": (3, CHACHA, 32),
    "tls13_gcm": (4, GCM, 32),
    "tls13_chacha20": (4, CHACHA, 32),
}
"""By the names of their counters: minor version, algorithm, bytes of the key."""


def enable_for(kind: str) -> ktls.TLSEnable:
    """Fresh keys."""
    minor, algorithm, key_len = SUITES[kind]
    iv_len = 4 if (minor, algorithm) == (3, GCM) else 12
    return ktls.TLSEnable(
        cipher_algorithm=algorithm,
        cipher_key=os.urandom(key_len),
        iv=os.urandom(iv_len),
        tls_vmajor=3,
        tls_vminor=minor,
    )


@contextmanager
def both_ends(
    pair: tuple[socket.socket, socket.socket], kind: str, *, opener: str = "", sealer: str = ""
) -> Iterator[tuple[ktls.Socket, ktls.Socket]]:
    """The sender, whose backend is `sealer`, and the receiver; "" is the best there is."""
    ktls.enable()
    en = enable_for(kind)
    near, far = (ktls.Socket(end) for end in pair)
    with near, far:
        ktls.sysctl["kern.ipc.tls.backend"] = sealer
        near.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_ENABLE, en)
        ktls.sysctl["kern.ipc.tls.backend"] = opener
        far.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_RXTLS_ENABLE, en)
        near.settimeout(60)
        far.settimeout(60)
        yield near, far


def received(far: ktls.Socket, size: int) -> bytes:
    """So many bytes."""
    data = bytearray()
    while len(data) < size:
        part = far.recv(min(1 << 18, size - len(data)))
        assert part, f"the stream ended after {len(data)} of {size} bytes"
        data += part
    return bytes(data)


def carried(near: ktls.Socket, far: ktls.Socket, data: bytes) -> bytes:
    """What came of it."""
    writer = threading.Thread(target=near.sendall, args=(data,))
    writer.start()
    came = received(far, len(data))
    writer.join()
    return came


def deregister(backend: backends.Backend) -> None:
    """Take a backend out when nobody uses it.

    A closed connection keeps its keys until everything was sent.
    """
    until(lambda: not backends.use_count(backend))
    backends.deregister(backend)
