"""Servers of the tests: started as a person would, ready when that returns, ended by their id."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cli.server_process import PATIENCE_S, eventually

PROGRAMS = Path(__file__).parent / "programs"


def free_port() -> int:
    """One that the system gives; for servers that do not say which one they took."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def running(
    command: Sequence[str | Path],
    ports: Sequence[int],
    log: Path,
    *,
    ends_by: signal.Signals = signal.SIGTERM,
    user: str | None = None,
) -> Iterator[None]:
    """A server that stays in the foreground; `ends_by` ends it with all its children."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **identity(user)
        )
    try:
        eventually(lambda: process.poll() is not None or all(map(listens, ports)))
        assert process.poll() is None, f"it did not start:\n{log.read_text()}"
        yield
    finally:
        process.send_signal(ends_by)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@contextmanager
def program(name: str, *arguments: object) -> Iterator[list[int]]:
    """Run programs/NAME.py, which prints the ports that it took, and ends with its input."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAMS / f"{name}.py"), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            ports = [int(port) for port in process.stdout.readline().split()]
            assert ports, "it did not start"
            yield ports
        finally:
            process.stdin.close()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def unprivileged() -> str | None:
    """A user for servers that refuse to be root; None where the tests are not root either."""
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return "nobody"


def identity(user: str | None) -> dict[str, Any]:
    """What subprocess has to be told to run something as `user`, with no group of ours."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


@contextmanager
def directory_of(user: str | None) -> Iterator[Path]:
    """A directory with a short name that `user` owns."""
    path = Path(tempfile.mkdtemp(prefix="ktls-"))
    try:
        if user is not None:
            shutil.chown(path, user)
        yield path
    finally:
        shutil.rmtree(path)


def give(path: str | Path, user: str | None) -> None:
    """Make a file that of `user`, and of nobody else."""
    Path(path).chmod(0o600)
    if user is not None:
        shutil.chown(path, user)
