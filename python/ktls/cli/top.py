"""``ktls top``: the rates of live processes, again and again, with a small plot of what was."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ktls.cli import figures
from ktls.cli.failure import CommandError
from ktls.cli.numbers import COUNT, SECONDS, of_process
from ktls.cli.processes import Snapshot, snapshots

_HISTORY: Final = 60
_WAYS: Final = ("tx", "rx")
Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Busy:
    """One connection with its rates since the last look: bytes and records in a second."""

    pid: int
    connection: dict[str, Any]
    bytes_s: dict[str, float]
    records_s: dict[str, float]


@dataclass(slots=True)
class Rates:
    """What the snapshots of two moments say of the time between; knows no clock."""

    before_s: float | None = None
    totals: dict[int, dict[str, int]] = field(default_factory=dict)
    each: dict[Key, dict[str, dict[str, Any]]] = field(default_factory=dict)
    history: dict[str, deque[float]] = field(
        default_factory=lambda: {way: deque(maxlen=_HISTORY) for way in _WAYS}
    )
    busy: list[Busy] = field(default_factory=list)

    def look(self, found: Iterable[Snapshot], now_s: float) -> None:
        """Take in what was found at this moment; the busiest connections come first."""
        found = list(found)
        passed_s = 0.0 if self.before_s is None else now_s - self.before_s
        totals = {
            snapshot.pid: {way: snapshot.totals[way]["payload_bytes"] for way in _WAYS}
            for snapshot in found
        }
        for way in _WAYS:
            grown = sum(
                max(0, sums[way] - self.totals[pid][way])
                for pid, sums in totals.items()
                if pid in self.totals
            )
            self.history[way].append(grown / passed_s if passed_s > 0 else 0.0)
        each: dict[Key, dict[str, dict[str, Any]]] = {}
        self.busy = []
        for snapshot in found:
            for connection in snapshot.connections:
                key = snapshot.pid, connection["id"]
                each[key] = {way: connection[way] for way in _WAYS}
                self.busy.append(self._rates(key, connection, passed_s))
        self.busy.sort(key=lambda busy: -sum(busy.bytes_s.values()))
        self.before_s, self.totals, self.each = now_s, totals, each

    def _rates(self, key: Key, connection: dict[str, Any], passed_s: float) -> Busy:
        def grown(way: str, name: str) -> float:
            # One that was not there before began in between.
            before = self.each[key][way][name] if key in self.each else 0
            return float(max(0, connection[way][name] - before)) / passed_s if passed_s > 0 else 0.0

        return Busy(
            key[0],
            connection,
            {way: grown(way, "payload_bytes") for way in _WAYS},
            {way: grown(way, "records") for way in _WAYS},
        )


@click.command(short_help="the same live, with rates and a small plot")
@click.option(
    "--interval", type=SECONDS, default=1.0, show_default=True, metavar="S",
    help="Seconds between two looks.",
)  # fmt: skip
@click.option("--count", "looks", type=COUNT, metavar="N", help="End after N looks.")
@click.option(
    "--lines", type=COUNT, default=20, show_default=True, metavar="N",
    help="Connections that are shown, the busiest first.",
)  # fmt: skip
@of_process
def command(interval: float, looks: int | None, lines: int, pid: int | None) -> None:
    """Show the busiest connections of live processes, and how much they carry.

    Bytes are payload. Where the output is no terminal each look is printed below the last one.
    Ctrl-C ends it. A process takes part when it was started with KTLS_CONTROL=1, or has called
    ktls.control.serve().
    """
    console = Console(highlight=False)
    rates = Rates()
    if not console.is_terminal:
        console = Console(width=160, highlight=False)
        for _ in _looks(rates, pid, interval, looks):
            console.print(_frame(rates, lines, console.width))
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for _ in _looks(rates, pid, interval, looks):
            live.update(_frame(rates, lines, console.width), refresh=True)


def _looks(rates: Rates, pid: int | None, interval_s: float, looks: int | None) -> Iterable[None]:
    number = 0
    while True:
        try:
            found = list(snapshots(pid))
        except CommandError:
            if not number:
                raise
            # Those that were looked at have ended; others may come, unless one was asked for.
            if pid is not None:
                return
            found = []
        rates.look(found, time.monotonic())
        yield
        number += 1
        if number == looks:
            return
        time.sleep(interval_s)


def _frame(rates: Rates, lines: int, width: int) -> Group:
    pids = len(rates.totals)
    head = Text(f"{pids} process{'es' * (pids != 1)}, {len(rates.busy)} connections")
    bars = min(_HISTORY, width - 16)
    plots = [
        Text(f"{way} {figures.rate(values[-1]):>10} {figures.plot(values, bars)}")
        for way, values in rates.history.items()
    ]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("Pid", "Local", "Foreign", "State", "Mode", "Suite"):
        table.add_column(name)
    for name in ("Tx", "Tx rec/s", "Rx", "Rx rec/s", "Queued", "Errors"):
        table.add_column(name, justify="right")
    for busy in rates.busy[:lines]:
        table.add_row(*_row(busy))
    return Group(head, *plots, table)


def _row(busy: Busy) -> list[str]:
    connection = busy.connection
    return [
        str(busy.pid),
        figures.endpoint(connection["local"]),
        figures.endpoint(connection["foreign"]),
        connection["state"],
        f"{connection['tx_mode']}/{connection['rx_mode']}",
        figures.suite(connection["tx_suite"] or connection["rx_suite"]),
        figures.rate(busy.bytes_s["tx"]),
        figures.count(busy.records_s["tx"]),
        figures.rate(busy.bytes_s["rx"]),
        figures.count(busy.records_s["rx"]),
        figures.count(connection["tx"]["queued_bytes"]),
        str(connection["tx"]["errors"] + connection["rx"]["errors"]),
    ]
