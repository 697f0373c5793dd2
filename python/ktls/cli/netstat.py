"""``ktls netstat``: the connections of live processes, with what each has carried."""

import json
from dataclasses import asdict
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ktls.cli import figures
from ktls.cli.numbers import of_process
from ktls.cli.processes import Snapshot, snapshots

_WIDE = 250
"""Columns where nobody's terminal says how many: nothing is cut."""


@click.command(short_help="the connections of live processes, and what each has carried")
@click.option("--json", "as_json", is_flag=True, help="Everything, as docs/control.md describes.")
@click.option("--totals", is_flag=True, help="The sums of each process alone.")
@of_process
def command(as_json: bool, totals: bool, pid: int | None) -> None:
    """List the connections of live processes, a row for each direction.

    Records and bytes are those under the keys of KTLS; the sums are over the life of a process,
    connections that are gone included. A process takes part when it was started with
    KTLS_CONTROL=1, or has called ktls.control.serve().
    """
    found = list(snapshots(pid))
    if as_json:
        click.echo(json.dumps({"processes": [asdict(snapshot) for snapshot in found]}, indent=1))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=_WIDE, highlight=False)
    if not totals:
        console.print(connections_table(found))
    console.print(totals_table(found))


def connections_table(found: list[Snapshot]) -> Table:
    """A row for each direction of each connection."""
    table = _table(
        "Pid", "Local", "Foreign", "State", "Way", "Mode", "Suite", "Backend",
        numbers=("Records", "Payload", "Wire", "Queued", "Next", "Keys", "Errors"),
    )  # fmt: skip
    for snapshot in found:
        for connection in snapshot.connections:
            for way in ("tx", "rx"):
                table.add_row(*_row(snapshot.pid, connection, way))
    return table


def totals_table(found: list[Snapshot]) -> Table:
    """A row for each direction of each process."""
    table = _table(
        "Pid",
        "Process",
        "Way",
        numbers=("Connections", "Records", "Payload", "Wire", "Keys", "Errors"),
    )
    for snapshot in found:
        for way, sums in snapshot.totals.items():
            table.add_row(
                str(snapshot.pid),
                snapshot.command,
                way,
                str(len(snapshot.connections)),
                str(sums["records"]),
                figures.count(sums["payload_bytes"]),
                figures.count(sums["wire_bytes"]),
                str(sums["key_changes"]),
                str(sums["errors"]),
            )
    return table


def _row(pid: int, connection: dict[str, Any], way: str) -> list[str]:
    traffic = connection[way]
    is_first = way == "tx"
    ends = [figures.endpoint(connection[end]) for end in ("local", "foreign")]
    sequence = traffic["sequence"]
    return [
        *((str(pid), *ends, connection["state"]) if is_first else ("", "", "", "")),
        way,
        connection[f"{way}_mode"],
        figures.suite(connection[f"{way}_suite"]),
        connection[f"{way}_backend"] or "-",
        str(traffic["records"]),
        figures.count(traffic["payload_bytes"]),
        figures.count(traffic["wire_bytes"]),
        figures.count(traffic["queued_bytes"]),
        "-" if sequence is None else str(sequence),
        str(traffic["key_changes"]),
        str(traffic["errors"]),
    ]


def _table(*words: str, numbers: tuple[str, ...]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in words:
        table.add_column(name, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", overflow="fold")
    return table
