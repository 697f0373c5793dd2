"""How many descriptors this process has, and which files they are.

A closed connection drains in the background and gives its descriptor back then, so that two looks
at the same process may differ although nothing was called in between.
"""

import os
import time
from pathlib import Path


def count() -> int:
    return len(os.listdir("/proc/self/fd"))


def settled() -> int:
    """The same when nothing has changed for a moment."""
    before = -1
    while (now := count()) != before:
        before = now
        time.sleep(0.1)
    return now


def paths(target: str) -> list[Path]:
    """Those that lead to what begins with `target`."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        try:
            if os.readlink(path).startswith(target):
                found.append(path)
        except FileNotFoundError:
            # Closed since the listing, or that of the listing itself.
            continue
    return found
