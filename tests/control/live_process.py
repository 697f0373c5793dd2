"""Processes that serve a control socket, and how tests talk to them and to the socket itself."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

TESTS = Path(__file__).parents[1]
PATIENCE_S = 50.0
"""How long anything may take that has to happen."""


class LiveProcess:
    """``programs/live.py`` with so many connections, ready when the construction returns."""

    def __init__(self, runtime: Path, connections: int = 1) -> None:
        self.environment = environment(runtime)
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "control/programs/live.py"), str(connections)],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        told = self._said()
        self.pid: int = told["pid"]
        self.path = Path(told["path"])
        self.ends: list[list[Any]] = told["ends"]

    def tell(self, line: str) -> Any:
        """Have it do something; what it says when that is done."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._said()

    def _said(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended with {self.process.wait(PATIENCE_S)}"
        return json.loads(line)

    def end(self) -> int:
        """Let it end as programs do; its status."""
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        self.process.kill()
        self.end()


def environment(runtime: Path, **more: str) -> dict[str, str]:
    """That of a process whose runtime directory this is."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KTLS_")}
    return kept | {"PYTHONPATH": path, "XDG_RUNTIME_DIR": str(runtime)} | more


@contextmanager
def runtime_directory() -> Iterator[Path]:
    """A short name: a socket's has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ktls-") as name:
        yield Path(name)


def eventually(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds."""
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


class RawClient:
    """A client that says what it likes."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def line(self) -> bytes:
        """The next line; empty at the end."""
        try:
            return self.file.readline()
        except ConnectionResetError:
            return b""

    def ask(self, line: bytes) -> Any:
        """The answer to one line."""
        self.socket.sendall(line + b"\n")
        return json.loads(self.line())

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
