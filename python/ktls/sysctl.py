"""The tree ``ktls.sysctl``: FreeBSD's names, types and defaults, in one process.

A node is read and set by its full name, ``ktls.sysctl["kern.ipc.tls.maxlen"] = 4096``.  What lives
in the engine is read from it and pushed to it; what lives in Python is kept here under one lock.
The nodes that are thresholds of this implementation, and the environment's overrides, are in
``policy``.
"""

import difflib
import errno
import threading
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

from ktls import _core
from ktls.per_process import PerProcess

PREFIX: Final = "kern.ipc.tls."

Value = bool | int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One name of the tree.

    ``flags`` as in sysctl(9): RW any time; RDTUN until the first worker thread runs, read-only
    afterwards; RD never.  ``low`` and ``high`` bound a number, both inclusive; a string is one of
    ``choices`` where there are any; a function is asked for those of the moment.  ``engine`` is the
    name under which the value is pushed to ``_core.set_tunable``; a node with ``counted`` is read
    from ``_core.counters``.
    """

    name: str
    type: Literal["bool", "int", "uint", "counter", "gauge", "string"]
    flags: Literal["RW", "RDTUN", "RD"]
    help: str
    default: Value = 0
    low: int = 0
    high: int = 2**32 - 1
    choices: tuple[str, ...] | Callable[[], tuple[str, ...]] = ()
    engine: str | None = None
    counted: bool = False

    def known(self) -> tuple[str, ...]:
        """The choices of this moment."""
        return self.choices() if callable(self.choices) else self.choices

    def __str__(self) -> str:
        bounds = f", {self.low}..{self.high}" if self.type in ("int", "uint") else ""
        bounds += f", one of {_listed(self.known())}" if self.choices else ""
        default = "" if self.flags == "RD" else f", default {self.default!r}{bounds}"
        return f"{self.name} ({self.type} {self.flags}{default}): {self.help}"


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
        """Grow the tree; the defaults take effect at once."""
        for node in nodes:
            self._nodes[node.name] = node
            self._values[node.name] = node.default
            if node.engine is not None:
                _core.set_tunable(node.engine, int(node.default))

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
        checked = _checked(node, value)
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
            self[name] = _parsed(self.node(name), text)
        except (KeyError, OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.args[0]
            raise ValueError(f"{assignment!r}: {reason}") from None


def _checked(node: Node, value: Value) -> Value:
    """`value` as the node keeps it."""
    if node.type == "string":
        if not isinstance(value, str):
            raise TypeError(f"{node.name} takes a str, not {type(value).__name__}")
        if node.choices and value not in node.known():
            raise OSError(
                errno.EINVAL,
                f"{node.name} cannot be {value!r}; it is one of {_listed(node.known())}",
            )
        return value
    if not isinstance(value, int):
        raise TypeError(f"{node.name} takes a {node.type}, not {type(value).__name__}")
    if node.type == "bool":
        if value not in (0, 1):
            raise OSError(errno.EINVAL, f"{node.name} cannot be {value}; it is 0 or 1")
        return bool(value)
    if not node.low <= value <= node.high:
        raise OSError(
            errno.EINVAL, f"{node.name} cannot be {value}; it lies in {node.low}..{node.high}"
        )
    return int(value)


def _listed(choices: tuple[str, ...]) -> str:
    return ", ".join(choice or repr(choice) for choice in choices)


def _parsed(node: Node, text: str) -> Value:
    """`text` as a value of the node's type."""
    if node.type == "string":
        return text
    if node.type == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None


sysctl: Final = Tree()


def enable(on: bool = True) -> None:
    """Turn kernel TLS on (or off) for sessions set up from now on.

    Both switches that FreeBSD asks for: ``kern.ipc.tls.enable`` and ``kern.ipc.mb_use_ext_pgs``.
    Sessions that exist are not touched.
    """
    sysctl["kern.ipc.mb_use_ext_pgs"] = on
    sysctl[PREFIX + "enable"] = on


_SW_HELP: Final = "Active number of software TLS sessions using {}"

sysctl.add(
    Node(
        name="kern.ipc.mb_use_ext_pgs",
        type="bool",
        flags="RW",
        default=False,
        help="Use unmapped buffers for sendfile and TLS offload; off, TCP_TXTLS_ENABLE is ENXIO",
    ),
    Node(
        name=PREFIX + "enable",
        type="bool",
        flags="RW",
        default=False,
        help="Enable support for kernel TLS offload",
    ),
    Node(
        name=PREFIX + "rx_enable",
        type="bool",
        flags="RW",
        default=True,
        help="Enable support for kernel TLS receive offload",
    ),
    Node(
        name=PREFIX + "cbc_enable",
        type="bool",
        flags="RW",
        default=True,
        help="Enable support of AES-CBC crypto for kernel TLS",
    ),
    Node(
        name=PREFIX + "maxlen",
        type="uint",
        flags="RW",
        default=16384,
        low=512,
        high=16384,
        help="Maximum TLS record size, in payload bytes, of sessions set up from now on."
        " 512 is the smallest limit that a peer can ask for by RFC 6066",
    ),
    Node(
        name=PREFIX + "bind_threads",
        type="int",
        flags="RDTUN",
        default=0,
        high=2,
        help="Bind crypto threads: 1 to cores, 2 to domains, 0 not at all",
    ),
    Node(
        name=PREFIX + "stats.threads",
        type="gauge",
        flags="RD",
        counted=True,
        help="Number of TLS threads in thread-pool",
    ),
    Node(
        name=PREFIX + "stats.sw_tx_inqueue",
        type="gauge",
        flags="RD",
        counted=True,
        help="Number of TLS records in queue to tasks for SW encryption",
    ),
    Node(
        name=PREFIX + "stats.sw_rx_inqueue",
        type="gauge",
        flags="RD",
        counted=True,
        help="Number of connections whose TLS records are being opened by SW decryption",
    ),
    Node(
        name=PREFIX + "stats.active",
        type="gauge",
        flags="RD",
        counted=True,
        help="Total active TLS sessions; a closed one counts until its data has been sent",
    ),
    Node(
        name=PREFIX + "stats.aio_pending",
        type="gauge",
        flags="RD",
        counted=True,
        help="Asynchronous writes that have not ended",
    ),
    Node(
        name=PREFIX + "stats.failed_crypto",
        type="counter",
        flags="RD",
        counted=True,
        help="Total TLS crypto failures",
    ),
    Node(
        name=PREFIX + "stats.corrupted_records",
        type="counter",
        flags="RD",
        counted=True,
        help="Total corrupted TLS records received",
    ),
    Node(
        name=PREFIX + "stats.enable_calls",
        type="counter",
        flags="RD",
        help="Total number of TLS enable calls made while TLS was enabled, failed ones included",
    ),
    Node(
        name=PREFIX + "stats.offload_total",
        type="counter",
        flags="RD",
        help="Total successful TLS setups (parameters set)",
    ),
    Node(
        name=PREFIX + "stats.switch_to_ifnet",
        type="counter",
        flags="RD",
        help="TLS sessions switched from SW to ifnet",
    ),
    Node(
        name=PREFIX + "stats.switch_to_sw",
        type="counter",
        flags="RD",
        help="TLS sessions switched from ifnet to SW",
    ),
    Node(
        name=PREFIX + "stats.switch_failed",
        type="counter",
        flags="RD",
        help="TLS sessions unable to switch between SW and ifnet",
    ),
    *(
        Node(
            name=f"{PREFIX}sw.{short}",
            type="gauge",
            flags="RD",
            counted=True,
            help=_SW_HELP.format(cipher),
        )
        for short, cipher in (
            ("cbc", "AES-CBC"),
            ("gcm", "AES-GCM"),
            ("chacha20", "Chacha20-Poly1305"),
        )
    ),
)
