"""Programs that tests start: what ends or changes a whole process is tried in its own."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
PROGRAMS = TESTS / "attack" / "programs"
TIMEOUT = 50


@dataclass
class Outcome:
    """How a program ended; what it said is text."""

    status: int
    said: str
    errors: str

    def require_success(self) -> str:
        """What it said; fails unless it ended well."""
        assert self.status == 0, f"status {self.status}\n{self.said}\n{self.errors}"
        return self.said


def start_program(
    name: str, *arguments: object, options: tuple[str, ...] = (), **environment: str
) -> "subprocess.Popen[str]":
    """Start attack/programs/NAME.py, which may import what tests share."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return subprocess.Popen(
        [sys.executable, *options, str(PROGRAMS / f"{name}.py"), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: "subprocess.Popen[str]", timeout: float = TIMEOUT) -> Outcome:
    """Wait for the end of the program; one that does not end shows its stacks and is killed."""
    with process:
        try:
            said, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            # faulthandler prints the stacks, then the signal kills.
            process.send_signal(signal.SIGABRT)
            said, errors = killed(process)
            errors = f"the program did not end in {timeout} s\n{errors}"
        except BaseException:
            process.kill()
            raise
    return Outcome(process.returncode, said, errors)


@contextlib.contextmanager
def ended_with_the_test(process: "subprocess.Popen[str]") -> Iterator[None]:
    """A test that fails leaves no program behind."""
    try:
        yield
    except BaseException:
        process.kill()
        process.communicate()
        raise


def killed(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """What it says before it is killed for good."""
    try:
        return process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()


def run_program(
    name: str,
    *arguments: object,
    timeout: float = TIMEOUT,
    options: tuple[str, ...] = (),
    **environment: str,
) -> Outcome:
    """Run attack/programs/NAME.py to its end."""
    process = start_program(
        name, *arguments, options=("-X", "faulthandler", *options), **environment
    )
    return finished(process, timeout)
