"""Starts `programs/green.py`: a monkey patch is for a whole process, and not for pytest's."""

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "programs" / "green.py"
CASES = (
    "echo",
    "tls12",
    "tls13",
    "sendfile",
    "openssl",
    "timeouts",
    "closing",
    "two_writers",
    "asynchronous",
    "unpatched",
)
"""What both libraries are asked to do."""


def run(library: str, case: str) -> None:
    """One case under gevent or eventlet.  It fails with the program's traceback, or stands."""
    done = subprocess.run(
        [sys.executable, PROGRAM, library, case],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
