"""``ktls bench``: the short bench on the user's own machine, ktls beside ``ssl``.

Whole connections over the loopback, one at a time, the two taking turns; the other end is
``bench_peer``. It says how this machine does, not how machines do: ``make bench`` of a checkout
measures more, and with more care.
"""

import contextlib
import json
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Final, Self

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import ktls
from ktls.cli import certificate, figures
from ktls.cli.bench_peer import MESSAGE_LEN
from ktls.cli.failure import CommandError
from ktls.cli.numbers import COUNT, SECONDS

CONTENDERS: Final = ("ssl", "ktls")
_FILE_LEN: Final = 64 << 20
_WRITE_LEN: Final = 1 << 20
_PATIENCE_S: Final = 120.0
_WIDE: Final = 160
"""Columns where nobody's terminal says how many."""


@dataclass(frozen=True, slots=True)
class Case:
    """What a connection does: for so many seconds, returning the payload bytes that it sent."""

    name: str
    unit: str
    run: Callable[[Any, float, BinaryIO], int]
    peer: str


@dataclass(frozen=True, slots=True)
class Result:
    """Values of one case, a pair for each round; `ratio` is of the medians."""

    case: str
    unit: str
    values: dict[str, list[float]]
    medians: dict[str, float]
    ratio: float
    ratios: list[float]
    """Of each round: how far they lie apart is how much to believe."""


def _send_file(sock: Any, seconds: float, file: BinaryIO) -> int:
    sent = 0
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        # `ssl` begins where the file stands when the offset is 0.
        file.seek(0)
        sent += sock.sendfile(file, 0, _FILE_LEN)
    return sent


def _send_all(sock: Any, seconds: float, _: BinaryIO) -> int:
    data = os.urandom(_WRITE_LEN)
    sent = 0
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        sock.sendall(data)
        sent += len(data)
    return sent


def _echo(sock: Any, _: float, file: BinaryIO) -> int:
    del file
    while message := sock.recv(MESSAGE_LEN):
        sock.sendall(message)
    return 0


CASES: Final = (
    Case("sendfile", "B/s", _send_file, "drain"),
    Case("sendall", "B/s", _send_all, "drain"),
    Case("echo", "/s", _echo, "echo"),
)


@click.command(short_help="a short bench on this machine, beside ssl")
@click.option(
    "--only", type=click.Choice([case.name for case in CASES]), multiple=True,
    help="This case; may be given again. Default: all of them.",
)  # fmt: skip
@click.option(
    "--seconds", type=SECONDS, default=1.0, show_default=True, metavar="S",
    help="For one connection.",
)  # fmt: skip
@click.option(
    "--rounds", type=COUNT, default=3, show_default=True, metavar="N",
    help="Connections of each, which take turns.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Every value, and what was agreed on.")
def command(only: tuple[str, ...], seconds: float, rounds: int, as_json: bool) -> None:
    """Measure ktls beside ssl over the loopback: sendfile, sendall of 1 MiB, an echo of 1 KiB.

    What comes off the wire is discarded unopened, so that sending is what is measured; the client
    of the echo is a stock one for both. Medians, the least and the greatest value, and the ratio.
    Another program that runs meanwhile is measured, too.
    """
    cases = [case for case in CASES if not only or case.name in only]
    ktls.enable()
    with Bench() as bench, _progress() as progress:
        task = progress.add_task("", total=len(cases) * rounds * len(CONTENDERS))

        def step(case: Case, contender: str) -> None:
            progress.update(task, advance=1, description=f"{case.name}, {contender}")

        results = [bench.measure(case, seconds, rounds, step) for case in cases]
    if as_json:
        told = {"agreed": bench.agreed, "results": [asdict(result) for result in results]}
        click.echo(json.dumps(told, indent=1))
    else:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(width=_WIDE, highlight=False)
        console.print(_table(results))
        console.print(f"{bench.agreed}; {rounds} rounds of {seconds:g} s each, in turns")


class Bench:
    """Certificates, a file that is in memory, and connections to a peer of each contender's."""

    def __init__(self) -> None:
        self._contexts = {}
        for contender in CONTENDERS:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            certificate.load_throwaway(context, "127.0.0.1")
            self._contexts[contender] = context
        ktls.prepare(self._contexts["ktls"])
        self._file = tempfile.TemporaryFile(prefix="ktls-bench-")  # noqa: SIM115 -- closed below
        self._file.write(os.urandom(_FILE_LEN))
        self._file.flush()
        self.agreed = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def measure(
        self, case: Case, seconds: float, rounds: int, step: Callable[[Case, str], None]
    ) -> Result:
        """The values of one case.  Raises CommandError when a connection breaks off."""
        values: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
        for _ in range(rounds):
            for contender in CONTENDERS:
                step(case, contender)
                values[contender].append(self._one(case, contender, seconds))
        medians = {contender: statistics.median(each) for contender, each in values.items()}
        ratios = [ours / theirs for theirs, ours in zip(*values.values(), strict=True)]
        ratio = medians["ktls"] / medians["ssl"]
        return Result(case.name, case.unit, values, medians, ratio, ratios)

    def _one(self, case: Case, contender: str, seconds: float) -> float:
        try:
            with _connection(self._contexts[contender], contender, case, seconds) as (sock, peer):
                if contender == "ktls":
                    self._note(sock)
                sent = case.run(sock, seconds, self._file)
                if contender == "ktls":
                    sock.flush()
                # The client of the echo has ended it.
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_WR)
                said, _ = peer.communicate(timeout=_PATIENCE_S)
            counted, took_s = said.split()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise CommandError(f"{case.name} with {contender} broke off: {error}") from error
        return (int(counted) if case.peer == "echo" else sent) / float(took_s)

    def _note(self, sock: Any) -> None:
        if sock.mode is not ktls.Mode.SW:
            raise CommandError(f"ktls does not seal here: {sock.why}")
        name, version, _ = sock.cipher()
        self.agreed = f"{version} {name}, sealed by {sock.backend}, {ssl.OPENSSL_VERSION}"


@contextlib.contextmanager
def _connection(
    context: ssl.SSLContext, contender: str, case: Case, seconds: float
) -> Iterator[tuple[Any, "subprocess.Popen[str]"]]:
    """A connection after its handshake, and the process at its other end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(_PATIENCE_S)
        command = [sys.executable, "-m", "ktls.cli.bench_peer", str(server.getsockname()[1])]
        peer = subprocess.Popen(  # noqa: S603 -- this interpreter
            [*command, case.peer, str(seconds)], stdout=subprocess.PIPE, text=True
        )
        try:
            plain, _ = server.accept()
            plain.settimeout(_PATIENCE_S)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wrap = ktls.wrap_socket if contender == "ktls" else _wrap_stock
            with wrap(plain, context, server_side=True) as sock:
                yield sock, peer
        finally:
            peer.kill()
            peer.communicate()


def _wrap_stock(sock: socket.socket, context: ssl.SSLContext, *, server_side: bool) -> Any:
    return context.wrap_socket(sock, server_side=server_side)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _table(results: list[Result]) -> Table:
    """Medians, with the least and the greatest value beside them."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("Case")
    for name in (*CONTENDERS, "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
        table.add_column("(least to greatest)", no_wrap=True)
    for result in results:
        cells: list[str] = []
        for contender in CONTENDERS:
            values = result.values[contender]
            cells.append(f"{figures.count(result.medians[contender])} {result.unit}")
            cells.append(f"({figures.count(min(values))} to {figures.count(max(values))})")
        each = f"({min(result.ratios):.2f} to {max(result.ratios):.2f})"
        table.add_row(result.case, *cells, f"{result.ratio:.2f}", each)
    return table
