"""`openssl s_client` and `s_server` as peers: processes that are spoken to by their pipes."""

import array
import fcntl
import os
import re
import select
import socket
import ssl
import subprocess
import termios
import time
from pathlib import Path
from typing import Self

import trustme

from handover.pairs import TIMEOUT
from ktls import TLSSocket, wrap_socket


class Process:
    """A command with pipes; everything that it says is kept in `output`."""

    def __init__(self, *command: str) -> None:
        self.output = b""
        self._process = subprocess.Popen(
            ["openssl", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )

    def say(self, text: str) -> None:
        """One read there: the commands of openssl are single letters at the beginning of one."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        end = time.monotonic() + TIMEOUT
        while _unread_count(self._process.stdin.fileno()):
            assert time.monotonic() < end, f"{text!r} was not read: {self.output!r}"
            assert self._process.poll() is None, f"ended before {text!r}: {self.output!r}"
            self._read_for(0.01)

    def read_until(self, words: bytes) -> bytes:
        """Return all output so far, once `words` is in it."""
        end = time.monotonic() + TIMEOUT
        while words not in self.output:
            left = end - time.monotonic()
            assert left > 0, f"{words!r} is not in {self.output!r}"
            ended = self._read_for(left)
            assert not ended, f"ended without {words!r}: {self.output!r}"
        return self.output

    def _read_for(self, seconds: float) -> bool:
        """Keep what it says next, waiting so long at most; whether it has closed its output."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        if not ready:
            return False
        data = os.read(self._process.stdout.fileno(), 65536)
        self.output += data
        return not data

    def stop(self) -> None:
        """End it, and keep the rest of what it said."""
        self._process.kill()
        rest, _ = self._process.communicate()
        self.output += rest


class OpenSSLClient(Process):
    """s_client, connected to our server: `with OpenSSLClient(context) as (own, client)`."""

    def __init__(self, context: ssl.SSLContext, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = "{}:{}".format(*server.getsockname())
            super().__init__("s_client", "-connect", address, "-servername", "localhost", *options)
            server.settimeout(TIMEOUT)
            sock, _ = server.accept()
        sock.settimeout(TIMEOUT)
        try:
            self.own = wrap_socket(sock, context, server_side=True)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> tuple[TLSSocket, Self]:
        return self.own, self

    def __exit__(self, *_: object) -> None:
        self.own.close()
        self.stop()


class OpenSSLServer(Process):
    """s_server, to which our client connects: `with OpenSSLServer(...) as server`."""

    def __init__(self, certificate: trustme.LeafCert, directory: Path, *options: str) -> None:
        path = directory / "server.pem"
        certificate.private_key_and_cert_chain_pem.write_to_path(path)
        super().__init__(
            "s_server", "-accept", "127.0.0.1:0", "-cert", str(path), "-key", str(path), *options
        )

    def connect(self, context: ssl.SSLContext) -> TLSSocket:
        self.read_until(b"ACCEPT")
        address = re.search(rb"ACCEPT (\S+):(\d+)", self.output)
        assert address is not None, self.output
        sock = socket.create_connection(("127.0.0.1", int(address[2])), TIMEOUT)
        return wrap_socket(sock, context, server_hostname="localhost")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _unread_count(pipe: int) -> int:
    """Bytes in a pipe that its reader has not taken yet; either end may ask."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]
