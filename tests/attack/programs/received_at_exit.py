"""A connection is used by a `__del__` while the interpreter ends: an error, as with ssl, no abort.

Usage: received_at_exit.py KIND CALL.
"""

import sys
from contextlib import suppress

from support.ends import connect


class Last:
    """Lives in a module, so that it goes with the interpreter."""

    def __init__(self, kind: str, call: str) -> None:
        self.ends = connect(kind)
        self.ends.own.settimeout(0.2)
        self.call = call

    def __del__(self) -> None:
        calls = {
            "recv": lambda: self.ends.own.recv(10),
            "recv_into": lambda: self.ends.own.recv_into(bytearray(10)),
            "unwrap": lambda: self.ends.own.unwrap(),
        }
        # Anything else is said on standard error.
        with suppress(OSError, ValueError):
            calls[self.call]()


last = Last(*sys.argv[1:])
