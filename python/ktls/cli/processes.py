"""Which processes a tool asks: one of a number, or all of the user's, and what they say.

What a process says is shown on a terminal, which would obey control characters: they are replaced.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktls.cli.failure import CommandError
from ktls.connections import SUMMED
from ktls.control import client
from ktls.control.client import Process
from ktls.control.protocol import Connections, ProtocolError

NOBODY = (
    "no process of this user has a control socket; start one with KTLS_CONTROL=1, or have it call"
    " ktls.control.serve()"
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The connections of one process at one moment, as ``docs/control.md`` describes them."""

    pid: int
    command: str
    connections: list[dict[str, Any]]
    totals: dict[str, dict[str, int]]
    """The sums over the life of the process, by direction."""


def chosen(pid: int | None) -> Iterator[Process]:
    """The process of this number, or all of the user's; each is closed when the next is taken.

    Raises CommandError when there is none.
    """
    if pid is not None:
        try:
            process = client.process(pid)
        except (OSError, ProtocolError) as error:
            raise CommandError(reason(error)) from None
        with closing(process):
            yield process
        return
    is_any = False
    for process in client.reachable():
        is_any = True
        with closing(process):
            yield process
    if not is_any:
        raise CommandError(NOBODY)


def snapshots(pid: int | None) -> Iterator[Snapshot]:
    """One of each process that is chosen; one that ends meanwhile is passed over."""
    for process in chosen(pid):
        try:
            yield _snapshot(process)
        except (OSError, ProtocolError) as error:
            if pid is not None:
                raise CommandError(f"process {pid}: {reason(error)}") from None


def command_of(pid: int) -> str:
    """The name of a process; its number when it is gone."""
    try:
        return str(shown(Path(f"/proc/{pid}/comm").read_text().strip()))
    except OSError:
        return str(pid)


def shown(value: Any) -> Any:
    """The same without anything that a terminal would obey, whatever is inside."""
    match value:
        case str():
            return "".join(char if char.isprintable() else "?" for char in value)
        case dict():
            return {str(shown(name)): shown(inner) for name, inner in value.items()}
        case list():
            return [shown(inner) for inner in value]
    return value


def reason(error: OSError | ProtocolError) -> str:
    """Why a process could not be asked."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    said = error.strerror if isinstance(error, OSError) else None
    return str(shown(said or str(error)))


def _snapshot(process: Process) -> Snapshot:
    found: list[dict[str, Any]] = []
    more = True
    while more:
        page = process.ask(Connections(found[-1]["id"] if found else 0))
        found += page["connections"]
        more = page["more"] and bool(page["connections"])
    sums = {
        way: {
            name: page["gone"][way][name] + sum(each[way][name] for each in found)
            for name in SUMMED
        }
        for way in ("tx", "rx")
    }
    return Snapshot(process.pid, command_of(process.pid), shown(found), sums)
