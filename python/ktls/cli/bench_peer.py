"""The other end of ``ktls bench``, in a process of its own: a stock ``ssl`` client.

    python -m ktls.cli.bench_peer PORT drain
    python -m ktls.cli.bench_peer PORT echo SECONDS

``drain`` takes what comes off the bare socket, unopened (MSG_TRUNC), so that it never is what
limits; ``echo`` asks and waits for the answer. It prints one line: what it counted, bytes or round
trips, and the seconds from the end of the handshake.
"""

import socket
import ssl
import sys
import time
from typing import Final

MESSAGE_LEN: Final = 1024
_READ_LEN: Final = 1 << 20
_TIMEOUT_S: Final = 60.0


def main() -> None:
    """Connect, make the handshake, do what is asked."""
    port, case, *rest = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Both ends are of one bench, on the loopback.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    sock = socket.create_connection(("127.0.0.1", int(port)), _TIMEOUT_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = context.wrap_socket(sock)
    began_s = time.perf_counter()
    counted = _drain(tls) if case == "drain" else _ask(tls, float(rest[0]))
    print(counted, time.perf_counter() - began_s)


def _drain(tls: ssl.SSLSocket) -> int:
    total = 0
    room = bytearray(_READ_LEN)
    with socket.socket(fileno=tls.detach()) as bare:
        bare.settimeout(_TIMEOUT_S)
        while count := bare.recv_into(room, _READ_LEN, socket.MSG_TRUNC):
            total += count
    return total


def _ask(tls: ssl.SSLSocket, seconds: float) -> int:
    message = bytes(MESSAGE_LEN)
    trips = 0
    end_s = time.perf_counter() + seconds
    with tls:
        while time.perf_counter() < end_s:
            tls.sendall(message)
            left = MESSAGE_LEN
            while left:
                left -= len(tls.recv(left))
            trips += 1
    return trips


if __name__ == "__main__":
    main()
