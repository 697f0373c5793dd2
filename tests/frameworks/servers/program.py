"""A program of docs/frameworks.md that runs, in a session of its own."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

from cli.server_process import PATIENCE_S, eventually

from .document import Section

PROGRAMS = Path(__file__).parents[1] / "programs"
MODULES = {"gunicorn"}
"""Commands that are installed with a package and may be run as its module."""


class Program:
    """Started by construction; a server listens when that returns.

    `directory` is its own: its files are written there, beside links to what is in `shared`.
    `before` is what its command follows.
    """

    def __init__(
        self,
        section: Section,
        directory: Path,
        shared: Path,
        *,
        name: str = "",
        before: tuple[str, ...] = (),
        **environment: str,
    ) -> None:
        self.name = name
        self.port = free_port()
        self._directory = directory
        self._environment = environment
        self._before = before
        for path in shared.iterdir():
            (directory / path.name).symlink_to(path)
        for name, text in section.files.items():
            (directory / name).write_text(text.replace("8443", str(self.port)))
        self._noted = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by `end`
        self.process = self.start(section.commands[0], self._noted)
        try:
            eventually(lambda: self.process.poll() is not None or is_listening(self.port))
            if self.process.poll() is not None:
                raise RuntimeError(f"the server did not start: {self.said()}")
        except BaseException:
            self.end()
            raise

    def start(self, command: list[str], output: object) -> "subprocess.Popen[str]":
        """Start a command of the section; its errors go where its output does."""
        name, *arguments = command
        module = ["-m", name] if name in MODULES else []
        path = os.pathsep.join([str(PROGRAMS), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        return subprocess.Popen(
            [*self._before, sys.executable, *module, *arguments],
            cwd=self._directory,
            env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def said(self) -> str:
        """Output and errors so far."""
        self._noted.seek(0)
        return self._noted.read()

    def interrupt(self) -> int:
        """What Ctrl-C does: SIGINT for the server and its children.

        Returns the status of the server, when its children have ended, too.
        """
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            status = self.process.wait(10)
        except subprocess.TimeoutExpired:
            # wsgiref, for one, swallows an exception that lands inside an application.
            os.killpg(self.process.pid, signal.SIGINT)
            status = self.process.wait(PATIENCE_S)
        eventually(lambda: not is_running(self.process.pid))
        return status

    def end(self) -> None:
        """Kill what is left of its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        self._noted.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def is_listening(port: int) -> bool:
    """Asked of the system: a connection that says nothing would be something to report."""
    row = re.compile(rf"^ *\d+: 0100007F:{port:04X} \S+ 0A ", re.MULTILINE)
    return row.search(Path("/proc/net/tcp").read_text()) is not None


def is_running(group: int) -> bool:
    """Whether a process group has members that have not ended."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        # It may end between being listed and being read.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                return True
    return False
