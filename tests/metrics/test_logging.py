"""The loggers ``ktls.*``: silent by default, and what they say to a program that listens."""

import logging
import os
import socket
import ssl
import subprocess
import sys
import threading

import pytest

import ktls
from keyed_link import linked
from record_reader import SUITES

TLS13 = SUITES[3]
PROGRAM = """
import logging, socket, sys
{setup}
import ktls
ktls.enable()
listener = socket.create_server(("127.0.0.1", 0))
near = socket.create_connection(listener.getsockname())
far, _ = listener.accept()
with ktls.Socket(near), far:
    pass
"""


def said(setup: str) -> str:
    """What a program writes to its standard error that only opens and closes a connection."""
    environment = {key: value for key, value in os.environ.items() if key != "KTLS_SYSCTL"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(setup=setup)],
        env=environment | {"KTLS_SYSCTL": "kern.ipc.tls.workers=2"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr


def test_silent_by_default() -> None:
    assert said("") == ""
    assert said("logging.basicConfig(level=logging.DEBUG)") == ""


def test_the_workers_say_that_they_start_and_end() -> None:
    setup = (
        "logging.basicConfig(format='%(name)s: %(message)s');"
        "logging.getLogger('ktls.workers').setLevel('INFO')"
    )
    lines = said(setup).splitlines()
    assert lines[0] == "ktls.workers: started 2 workers, bind_threads 0"
    assert lines[-1] == "ktls.workers: the workers have ended; 0 bytes were not sent"


def test_a_switch_that_fails_is_said(enabled: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ktls")
    with linked(TLS13) as link, pytest.raises(OSError, match="no interface"):
        link.sock.setsockopt(ktls.IPPROTO_TCP, ktls.TCP_TXTLS_MODE, ktls.Mode.IFNET)
    messages = [record.getMessage() for record in caplog.records if record.name == "ktls.tx_mode"]
    assert messages == [
        "switch to IFNET failed: no interface offers TLS; the session stays in Mode.SW"
    ]


def test_a_handshake_that_openssl_keeps_is_said(
    server_context: ssl.SSLContext,
    client_context: ssl.SSLContext,
    tcp_pair: tuple[socket.socket, socket.socket],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The switch is off: the reason is that of ``why``."""
    caplog.set_level(logging.INFO, "ktls")
    ktls.enable(False)
    near, far = tcp_pair

    def connect() -> None:
        with client_context.wrap_socket(near, server_hostname="localhost") as stock:
            stock.recv(1)

    client = threading.Thread(target=connect)
    client.start()
    context = ktls.prepare(server_context)
    with ktls.wrap_socket(far, context, server_side=True) as sock:
        why = sock.why
        sock.sendall(b"x")
    client.join()
    messages = [record.getMessage() for record in caplog.records if record.name == "ktls.handover"]
    assert messages == [f"OpenSSL keeps a connection: {why}"]
    assert "kern.ipc.tls.enable is off" in why


def test_no_key_is_ever_said(enabled: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "ktls")
    with linked(TLS13) as link:
        link.sock.sendall(b"x")
        secrets = link.secrets
    text = caplog.text
    assert secrets.key.hex() not in text
    assert repr(secrets.key) not in text
