"""The first receive of a connection makes its handshake: what it says when the client has left."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ktls
from cli.server_process import PATIENCE_S

CALLS: dict[str, tuple[Callable[[Any], Any], object]] = {
    "recv": (lambda sock: sock.recv(10), b""),
    "recv_into": (lambda sock: sock.recv_into(bytearray(10)), 0),
    "read": (lambda sock: sock.read(10), b""),
    "read_into": (lambda sock: sock.read(10, bytearray(10)), 0),
    "makefile": (lambda sock: sock.makefile("rb").readline(), b""),
}
CREATE = {"ours": ktls.create_default_context, "stock": ssl.create_default_context}


@pytest.mark.parametrize("whose", CREATE)
@pytest.mark.parametrize("ragged", [True, False], ids=["suppressed", "raised"])
@pytest.mark.parametrize("call", CALLS)
def test_a_client_that_leaves_instead(whose: str, ragged: bool, call: str, shared: Path) -> None:
    context = CREATE[whose](ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(shared / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as plain:
        client = socket.create_connection(plain.getsockname(), PATIENCE_S)
        accepted, _ = plain.accept()
    accepted.settimeout(PATIENCE_S)
    own = context.wrap_socket(
        accepted, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=ragged
    )
    client.close()
    receive, end = CALLS[call]
    with own:
        if ragged:
            assert receive(own) == end
        else:
            with pytest.raises(ssl.SSLEOFError):
                receive(own)
