"""The other end where the contender receives: it sends as fast as it can, the same way for all.

Over TLS that is ktls: the fastest sender at hand, so that the receiver is what is measured.
"""

import contextlib
import socket
import ssl

import ktls
from ktls import prepare, wrap_socket
from ktls.constants import Mode

Feeder = socket.socket | ktls.TLSSocket

_BLOCK = bytes(range(256)) * 4096


def context(authority: bytes) -> ssl.SSLContext:
    """What connections of ours are made with, as a client."""
    ktls.enable()
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_verify_locations(cadata=authority.decode())
    return prepare(made)


def wrap(sock: socket.socket, made: ssl.SSLContext) -> ktls.TLSSocket:
    """The handshake.  RuntimeError when the connection stays with OpenSSL."""
    ours = wrap_socket(sock, made, server_hostname="localhost")
    if ours.mode is not Mode.SW or ours.rx_mode is not Mode.SW:
        raise RuntimeError(f"the client was not taken over: {ours.why or ours.rx_why}")
    return ours


def feed(feeder: Feeder) -> None:
    """Send until the other end leaves."""
    with contextlib.suppress(ConnectionError):
        while True:
            feeder.sendall(_BLOCK)
