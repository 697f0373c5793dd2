"""What a program of docs/frameworks.md says of a connection, asked from the socket."""

import ssl
from typing import Any

import ktls

OFFLOADS = "kern.ipc.tls.stats.offload_total"


def described(sock: Any | None) -> dict[str, Any]:
    """JSON of a connection; without a socket what can be counted alone.

    A stock socket has no modes, so that a program says the same of it as before.
    """
    found: dict[str, Any] = {"offloads": ktls.sysctl[OFFLOADS]}
    if isinstance(sock, ssl.SSLSocket):
        found["mode"] = _name(sock, "mode")
        found["rx_mode"] = _name(sock, "rx_mode")
        found["why"] = getattr(sock, "why", "") or getattr(sock, "rx_why", "")
        found["version"] = sock.version()
        found["alpn"] = sock.selected_alpn_protocol()
        peer = sock.getpeercert() or {}
        found["client"] = [value for _, value in peer.get("subjectAltName", ())]
    return found


def _name(sock: ssl.SSLSocket, which: str) -> str:
    mode = getattr(sock, which, None)
    return "STOCK" if mode is None else mode.name
