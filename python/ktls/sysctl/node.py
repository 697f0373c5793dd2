"""One node of the tree: what it is called, who may set it, and which values it takes.

Where the value lives is the tree's business.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

PREFIX: Final = "kern.ipc.tls."

Value: TypeAlias = bool | int | str
Type: TypeAlias = Literal["bool", "int", "uint", "counter", "gauge", "string"]
Access: TypeAlias = Literal["RW", "RWTUN", "RDTUN", "RD"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One name of the tree.

    ``flags`` as in sysctl(9): RW any time, and RWTUN, too, which upstream's boot loader may set as
    well; RDTUN until the first worker thread runs, read-only afterwards; RD never.  KTLS_SYSCTL,
    this library's boot loader, sets all but RD.  ``low`` and ``high`` bound a number, both
    inclusive; a string is one of ``choices`` where there are any; a function is asked for those of
    the moment.  ``engine`` is the name under which the value is pushed to ``_core.set_tunable``; a
    node with ``counted`` is read from ``_core.counters``.
    """

    name: str
    type: Type
    flags: Access
    help: str
    default: Value = 0
    low: int = 0
    high: int = 2**32 - 1
    choices: tuple[str, ...] | Callable[[], tuple[str, ...]] = ()
    engine: str | None = None
    counted: bool = False

    @property
    def is_writable(self) -> bool:
        """Whether it may be set at any time."""
        return self.flags in ("RW", "RWTUN")

    @property
    def range(self) -> str:
        """The values of a number or string that may be set, in words; empty for the others."""
        if self.flags == "RD":
            return ""
        if self.type in ("int", "uint"):
            return f"{self.low}..{self.high}"
        return f"one of {_listed(self.known())}" if self.choices else ""

    def known(self) -> tuple[str, ...]:
        """The choices of this moment."""
        return self.choices() if callable(self.choices) else self.choices

    def __str__(self) -> str:
        bounds = f", {self.range}" if self.range else ""
        default = "" if self.flags == "RD" else f", default {self.default!r}{bounds}"
        return f"{self.name} ({self.type} {self.flags}{default}): {self.help}"

    def check(self, value: Value) -> Value:
        """`value` as the node keeps it.  Raises TypeError, OSError EINVAL."""
        if self.type == "string":
            if not isinstance(value, str):
                raise TypeError(f"{self.name} takes a str, not {type(value).__name__}")
            if self.choices and value not in self.known():
                self._refuse(value, f"is one of {_listed(self.known())}")
            return value
        if not isinstance(value, int):
            raise TypeError(f"{self.name} takes a {self.type}, not {type(value).__name__}")
        if self.type == "bool":
            if value not in (0, 1):
                self._refuse(value, "is 0 or 1")
            return bool(value)
        if not self.low <= value <= self.high:
            self._refuse(value, f"lies in {self.low}..{self.high}")
        return int(value)

    def parse(self, text: str) -> Value:
        """`text`, of a command line, as a value of the node's type.  Raises ValueError."""
        if self.type == "string":
            return text
        if self.type == "bool" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        try:
            return int(text, 0)
        except ValueError:
            raise ValueError(f"{text!r} is not a number") from None

    def _refuse(self, value: Value, rule: str) -> None:
        raise OSError(errno.EINVAL, f"{self.name} cannot be {value!r}; it {rule}")


def _listed(choices: tuple[str, ...]) -> str:
    return ", ".join(choice or repr(choice) for choice in choices)
