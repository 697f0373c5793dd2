"""How far a client's TCP is, from TCP_INFO of Linux (tcp(7), ``struct tcp_info``).

Each question takes a free descriptor for its moment: OSError without one, or for a closed socket.
"""

import socket
import struct

from ktls import TLSSocket

# States in which the peer has yet to acknowledge what was sent, our FIN included.
_ESTABLISHED, _FIN_WAIT1 = 1, 4
_BYTES_ACKED = struct.Struct("120x Q")


def is_taken(connection: TLSSocket) -> bool:
    """Whether, after our end of the stream, the client's TCP has all that was sent, or is gone."""
    return _information(connection)[0] not in (_ESTABLISHED, _FIN_WAIT1)


def acknowledged_len(connection: TLSSocket) -> int:
    """Bytes that the client's TCP has acknowledged, those of records and handshake."""
    (count,) = _BYTES_ACKED.unpack(_information(connection))
    return int(count)


def _information(connection: TLSSocket) -> bytes:
    found = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    if len(found) < _BYTES_ACKED.size:
        raise OSError(f"TCP_INFO of this system has {found!r}, less than {_BYTES_ACKED.size} bytes")
    return found
