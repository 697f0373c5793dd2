"""Live processes for the tests of the control socket."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from control.live_process import LiveProcess, runtime_directory


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A runtime directory of the test's own."""
    with runtime_directory() as directory:
        yield directory


@pytest.fixture
def live(runtime: Path) -> Iterator[Callable[..., LiveProcess]]:
    """Start processes that end with the test."""
    started: list[LiveProcess] = []

    def start(connections: int = 1) -> LiveProcess:
        started.append(LiveProcess(runtime, connections))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.kill()
