"""A command as a third process, which knows two live ones."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

from control.live_process import LiveProcess, environment, runtime_directory


class Tool:
    """Runs ``python COMMAND ARGUMENTS``."""

    command: ClassVar[tuple[str, ...]]
    timeout_s: ClassVar[float]

    def __init__(self, runtime: Path, *processes: LiveProcess) -> None:
        self.environment = environment(runtime)
        self.processes = processes

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *self.command, *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=self.timeout_s,
            check=False,
        )

    @classmethod
    @contextmanager
    def beside_two(cls) -> Iterator[Self]:
        """With two live processes, of two connections and one; they end well."""
        with runtime_directory() as runtime:
            processes = LiveProcess(runtime, 2), LiveProcess(runtime, 1)
            yield cls(runtime, *processes)
            assert [process.end() for process in processes] == [0, 0]
