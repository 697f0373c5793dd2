"""What is asked of a contender, and what comes back.  Pure data: it crosses between processes.

A sample is a mapping from a figure's name (``FIGURES``) to its value in one run.
"""

from dataclasses import dataclass, replace
from typing import Literal

Sample = dict[str, float]

RECORD_LEN = 16384
"""Payload bytes of a full record, the unit of the CPU figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sends:
    """Write `size` bytes again and again for `seconds`, on each of `connections` (a thread each).

    `hog`: another thread of the process runs pure Python all the time and holds the GIL.
    """

    size: int
    seconds: float
    call: Literal["send", "sendall"] = "sendall"
    connections: int = 1
    hog: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFile:
    """Send the first `count` bytes of a file; `cold`: after its pages were dropped from memory."""

    path: str
    count: int
    cold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Receives:
    """Receive into one buffer of `size` bytes, again and again for `seconds`; `hog` as in Sends."""

    size: int
    seconds: float
    hog: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Relays:
    """The same from one connection, and send what came on another, in one thread that waits."""

    size: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """Answer `requests` of `size` bytes with as many bytes, one after another.

    `both`: the client is the contender's too, not a stock one.
    """

    size: int
    requests: int
    both: bool = False

    @property
    def warm_up(self) -> int:
        """Requests before the first one that counts."""
        return max(20, self.requests // 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Make `connections` connections and leave them alone."""

    connections: int

    @property
    def warm_up(self) -> int:
        """Connections made before memory is looked at: they fill what all share."""
        return 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealing:
    """Seal records of `size` bytes for `seconds`, without any connection."""

    size: int
    seconds: float


Work = Sends | SendFile | Receives | Relays | Echo | Idle | Sealing


def connection_count(work: Work) -> int:
    """Connections that a run of `work` needs."""
    match work:
        case Sends():
            return work.connections
        case Idle():
            return work.connections + work.warm_up
        case Sealing():
            return 0
        case Relays():
            return 2
        case _:
            return 1


_TIMED = Sends | Receives | Relays | Sealing


def shortened(work: Work, seconds: float) -> Work | None:
    """The same for a moment, to warm up; None where a run warms up by itself."""
    return replace(work, seconds=seconds) if isinstance(work, _TIMED) else None


@dataclass(frozen=True, slots=True)
class Order:
    """What the receiving process has to do for one run."""

    port: int
    kind: str
    """The contender's."""
    work: Work

    @property
    def tls(self) -> bool:
        """Whether this end has to make a handshake."""
        return self.kind != "plain"


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that came to nothing, in words."""

    reason: str
