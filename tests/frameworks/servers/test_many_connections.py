"""The server on selectors with 900 connections under `ulimit -n 2048`, each answered."""

import json
import resource
import socket
import ssl
from pathlib import Path

from cli.server_process import PATIENCE_S

from .document import sections
from .program import Program

CONNECTIONS = 900
DESCRIPTORS = 2048
ROUNDS = 2


def test_each_of_900_is_answered(shared: Path, tmp_path: Path) -> None:
    section = sections()["A server on selectors"]
    limited = ("sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$0" "$@"')
    context = ssl.create_default_context(cafile=shared / "ca.pem")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, DESCRIPTORS)), hard))
    with Program(section, tmp_path, shared, before=limited) as program:
        clients = []
        try:
            for _ in range(CONNECTIONS):
                sock = socket.create_connection(("127.0.0.1", program.port), PATIENCE_S)
                clients.append(context.wrap_socket(sock, server_hostname="127.0.0.1"))
            for _ in range(ROUNDS):
                for client in clients:
                    client.sendall(b"GET /connection HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                for client in clients:
                    head, _, body = client.recv(10_000).partition(b"\r\n\r\n")
                    assert head.startswith(b"HTTP/1.1 200 "), program.said()
                    end = json.loads(body or client.recv(10_000))
                    assert (end["mode"], end["rx_mode"]) == ("SW", "SW"), end["why"]
            assert "Traceback" not in program.said()
        finally:
            for client in clients:
                client.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
