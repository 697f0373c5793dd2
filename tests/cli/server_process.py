"""A ``ktls serve`` process of a test's own, and what can be seen of it from outside."""

import hashlib
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PATIENCE_S = 30.0
"""How long anything may take that has to happen; no test asserts that it was fast."""

_LINE = re.compile(
    r"(?P<method>\S+) (?P<target>\S+) (?P<status>\d+) mode=(?P<mode>\S+) suite=(?P<suite>\S+) "
    r"backend=(?P<backend>\S+) bytes=(?P<body_len>\d+) rate=(?P<rate>\S+)(?P<trouble>.*)"
)


@dataclass(frozen=True)
class Line:
    """A printed response."""

    method: str
    target: str
    status: int
    mode: str
    suite: str
    backend: str
    body_len: int
    rate: str
    trouble: str


class ServerProcess:
    """Started by construction, ready when that returns; ``end`` stops it as a person would."""

    def __init__(self, directory: Path, certificate: Path | None, *options: str) -> None:
        command = [sys.executable, "-m", "ktls", "serve", str(directory), "--port", "0"]
        if certificate is not None:
            command += ["--cert", str(certificate)]
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.printed: list[str] = []
        self.noted: list[str] = []
        self._pumps = [
            threading.Thread(target=self._pump, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.printed), (self.process.stderr, self.noted))
        ]
        for pump in self._pumps:
            pump.start()
        eventually(lambda: bool(self.printed) or self.process.poll() is not None)
        if not self.printed:
            self.end()
            raise RuntimeError(f"the server did not start: {self.noted}")
        self.url = self.printed[0].rsplit(" on ", 1)[1]
        host, port = re.fullmatch(r"https://\[?(.+?)\]?:(\d+)/", self.url).groups()
        self.address = (host, int(port))

    @staticmethod
    def _pump(stream: object, lines: list[str]) -> None:
        with stream:
            lines.extend(line.rstrip("\n") for line in stream)

    def responses(self, target: str | None = None) -> list[Line]:
        """Responses printed so far, for `target` only where given."""
        found = []
        for text in self.printed[1:]:
            match = _LINE.fullmatch(text)
            assert match, f"unexpected line {text!r}"
            fields = match.groupdict()
            numbers = {name: int(fields[name]) for name in ("status", "body_len")}
            found.append(Line(**{**fields, **numbers}))
        return [line for line in found if target in (None, line.target)]

    def response(self, target: str) -> Line:
        """The first response printed for `target`, waiting for it."""
        eventually(lambda: bool(self.responses(target)))
        return self.responses(target)[0]

    def rss_size(self) -> int:
        """Resident memory, bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024

    def thread_count(self) -> int:
        """Threads alive."""
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def thread_names(self) -> set[str]:
        """Names of the threads alive."""
        names = set()
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            # A thread may end between being listed and being asked.
            with suppress(FileNotFoundError, ProcessLookupError):
                names.add((task / "comm").read_text().strip())
        return names

    def descriptor_count(self) -> int:
        """Open file descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the process and return its status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pump in self._pumps:
            pump.join(PATIENCE_S)
        return self.process.returncode


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def write_random(path: Path, size: int, seed: int = 1) -> str:
    """Fill `path` with `size` random bytes; returns their SHA-256."""
    source, digest = random.Random(seed), hashlib.sha256()
    with path.open("wb") as file:
        while size:
            block = source.randbytes(min(size, 1 << 24))
            file.write(block)
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


def client_context(authority: Path) -> ssl.SSLContext:
    """What stock ``ssl`` clients of the tests verify the server with."""
    return ssl.create_default_context(cafile=authority)


def connect(
    server: ServerProcess, context: ssl.SSLContext, *, rcvbuf: int | None = None
) -> ssl.SSLSocket:
    """A stock client, its handshake done."""
    sock = socket.socket()
    if rcvbuf is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    sock.settimeout(PATIENCE_S)
    sock.connect(server.address)
    return context.wrap_socket(sock, server_hostname="127.0.0.1")


def ask(client: ssl.SSLSocket, target: str, *headers: str) -> None:
    """Send a GET."""
    lines = [f"GET {target} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
    client.sendall("\r\n".join(lines).encode())
