"""The mapping from names to values.

What lives in the engine is read from it and pushed to it; what lives in Python is kept here under
one lock.
"""

import difflib
import errno
import threading
from collections.abc import Iterator, MutableMapping
from typing import NoReturn

from ktls import _core
from ktls.per_process import PerProcess
from ktls.sysctl.node import PREFIX, Node, Value


class Tree(MutableMapping[str, Value]):
    """A mapping from full names to values; iteration is in the order of the names.

    Errors: KeyError for a name that is not there (it lists near ones), TypeError for a value of the
    wrong Python type, OSError EINVAL for a value out of range, OSError EPERM for a node that cannot
    be set.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._values: dict[str, Value] = {}
        self._lock = PerProcess(threading.RLock)

    def add(self, *nodes: Node) -> None:
        """Grow the tree."""
        for node in nodes:
            self._nodes[node.name] = node
            self._values[node.name] = node.default

    def __getitem__(self, name: str) -> Value:
        node = self.node(name)
        if node.counted:
            return _core.counters()[name.removeprefix(PREFIX)]
        return self._values[name]

    def __setitem__(self, name: str, value: Value) -> None:
        node = self.node(name)
        if node.flags == "RD":
            raise OSError(errno.EPERM, f"{name} is read-only (a {node.type})")
        if node.flags == "RDTUN" and _core.workers_started():
            raise OSError(
                errno.EPERM,
                f"{name} cannot change while the workers run; set it before the first ktls.Socket",
            )
        checked = node.check(value)
        with self._lock():
            if node.engine is not None:
                _core.set_tunable(node.engine, int(checked))
            self._values[name] = checked

    def __delitem__(self, name: str) -> NoReturn:
        raise OSError(errno.EPERM, f"{self.node(name).name} cannot be removed from the tree")

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._nodes))

    def __len__(self) -> int:
        return len(self._nodes)

    def node(self, name: str) -> Node:
        """What is known about `name`.  Raises KeyError."""
        try:
            return self._nodes[name]
        except (KeyError, TypeError):
            near = difflib.get_close_matches(str(name), self._nodes, n=3, cutoff=0.5)
            hint = f"; near it: {', '.join(near)}" if near else f"; all begin with {PREFIX}"
            raise KeyError(f"no node {name!r} in the tree{hint}") from None

    def describe(self, name: str) -> str:
        """Type, flags, default, range and help of `name`, in one line."""
        return str(self.node(name))

    def number(self, name: str) -> int:
        """The value of a node that is not a string."""
        return int(self[name])

    def snapshot(self) -> dict[str, Value]:
        """Every value by its name, those that the engine counts read at one time."""
        # In this order: what is in the tree has its counter, and a backend may register meanwhile.
        nodes = sorted(self._nodes.items())
        engine = _core.counters()
        return {
            name: engine[name.removeprefix(PREFIX)] if node.counted else self._values[name]
            for name, node in nodes
        }

    def statistics(self) -> dict[str, int]:
        """Every node that is read-only and the engine or this library counts, read at one time."""
        return {
            name: int(value)
            for name, value in self.snapshot().items()
            if self._nodes[name].flags == "RD"
        }

    def count(self, name: str) -> None:
        """Add one to a counter kept here."""
        with self._lock():
            self._values[name] = int(self._values[name]) + 1

    def assign(self, assignment: str) -> None:
        """Carry out ``name=value`` from a command line or the environment.

        Raises ValueError that quotes the item, whatever is wrong with it.
        """
        name, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals:
            raise ValueError(f"{assignment!r} is not of the form name=value")
        try:
            self[name] = self.node(name).parse(text)
        except (KeyError, OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.args[0]
            raise ValueError(f"{assignment!r}: {reason}") from None
