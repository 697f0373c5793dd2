"""A client under way: it reads a file, or packets from a thread that keeps its input open."""

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

END_TIMEOUT = 15
PACKET_SIZE = 4000
"""What the tools take in one read."""


class Process:
    """A command that reads `data`, and everything that it says.

    With `between` its input is packets of the data and stays open: each is one read there, and
    after packet number n it reads `between(n)`, if that is not empty.
    """

    def __init__(
        self,
        command: list[str],
        data: Path,
        environment: dict[str, str],
        between: Callable[[int], bytes] | None = None,
    ) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._feeder: threading.Thread | None = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with data.open("rb") as file, theirs:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=(file if between is None else theirs).fileno(),
                    stdout=self._output,
                    stderr=subprocess.STDOUT,
                    env=os.environ | environment,
                )
            except BaseException:
                ours.close()
                self._output.close()
                raise
        self._input = ours
        if between is not None:
            self._feeder = threading.Thread(target=self._feed, args=[data, between])
            self._feeder.start()

    def _feed(self, data: Path, between: Callable[[int], bytes]) -> None:
        # A client that ends early is seen by the test.
        with data.open("rb") as file, suppress(OSError):
            number = 0
            while packet := file.read(PACKET_SIZE):
                self._input.sendall(packet)
                number += 1
                if command := between(number):
                    self._input.sendall(command)

    def said(self) -> bytes:
        self._output.seek(0)
        return self._output.read()

    def finished(self) -> int:
        """Its status, once it has ended by itself."""
        return self._process.wait(END_TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._feeder is not None:
            self._feeder.join()
        self._input.close()
        self._output.close()


def nothing(_: int) -> bytes:
    """Say nothing between packets."""
    return b""
