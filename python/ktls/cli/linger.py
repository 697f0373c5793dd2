"""How the server parts with a client: its answer arrives, whatever the client is still sending.

A close over unread data makes the kernel reset the connection, and a reset may destroy the answer
on its way.  So the end is said first, and what still comes is read and thrown away (RFC 9112 §9.6).
"""

import socket
import ssl
import time
from contextlib import suppress

from ktls import KTLSError, TLSSocket
from ktls.cli.tcp_info import is_taken

SILENCE_S = 2.0
"""Seconds for the client to close, or to go on sending, once its TCP has taken everything."""
TIME_S = 6.0
"""Seconds for the client to close, from then on, though it goes on sending."""
DISCARD_SIZE = 8 << 20
"""Bytes that are thrown away; then what comes stays unread."""

_TICK_S = 0.1
_CHUNK_SIZE = 65536


def part(connection: TLSSocket) -> None:
    """Say close_notify and end the stream, then discard what comes until the client closes too.

    Waits for as long as the client goes on taking the answer: TCP_USER_TIMEOUT ends that.  Nothing
    is raised: a client that is gone has no use for a goodbye.
    """
    with suppress(OSError, KTLSError):
        connection.settimeout(0)
        try:
            connection.unwrap().close()
            return
        except (ssl.SSLError, BlockingIOError):
            pass  # Ours is said; the client's has not come.
        connection.shutdown(socket.SHUT_WR)
        _discard(connection)


def _discard(connection: TLSSocket) -> None:
    buffer = bytearray(_CHUNK_SIZE)
    discarded, at_end = 0, False
    taken_s = heard_s = 0.0
    while True:
        now_s = time.monotonic()
        if _may_be_taken(connection):
            taken_s = taken_s or now_s
            quiet_s = now_s - max(taken_s, heard_s)
            if at_end or quiet_s >= SILENCE_S or now_s - taken_s >= TIME_S:
                return
        if at_end:
            time.sleep(_TICK_S)
            continue
        connection.settimeout(_TICK_S)
        try:
            received_len = connection.recv_into(buffer)
        except TimeoutError:
            continue
        heard_s = time.monotonic()
        discarded += received_len
        # The end of reading, too, when the server stops: the answer may still be on its way.
        at_end = not received_len or discarded >= DISCARD_SIZE


def _may_be_taken(connection: TLSSocket) -> bool:
    """Whether the client has the whole answer, as far as that can be asked."""
    try:
        return is_taken(connection)
    except OSError:
        return True  # The bounds of time hold.
