"""What one client of ``ktls serve`` may take, and how many there may be."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Connections, and seconds."""

    connections: int = 1024
    handshake_s: float = 10.0
    """For the whole handshake."""
    request_s: float = 30.0
    """From the end of an answer (or the handshake) to the end of the next request's header."""
    send_s: float = 120.0
    """Without the peer's TCP taking a byte; a slow client that goes on reading is let be."""
