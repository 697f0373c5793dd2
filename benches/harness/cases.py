"""The cases, in the short and in the full form."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.contenders import AS_IT_COMES, Contender
from harness.work import Echo, Idle, Receives, Relays, Sealing, SendFile, Sends, Work

Form = Literal["short", "full"]
Takes = Callable[[Contender], bool]

HOT_SIZE = 1 << 30
_SIZES = {64: "64 B", 1024: "1 KiB", 16384: "16 KiB", 262144: "256 KiB", 1 << 20: "1 MiB"}


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the report.  `figure` is the one that is compared and drawn."""

    name: str
    title: str
    work: Work
    figure: str
    takes: Takes
    fresh: bool = False
    """Whether a run needs a sending process in which nothing ran before."""


def cases(form: Form, file: Path, default_backend: str) -> list[Case]:
    """Those of a form; `file` has at least HOT_SIZE bytes."""
    full = form == "full"
    seconds = 1.0 if full else 0.3

    def connected(contender: Contender) -> bool:
        return contender.kind not in ("api", "crate") and contender.name != AS_IT_COMES

    def few(contender: Contender) -> bool:
        # Both ways of ktls with its first backend, the other backends in the pool only.
        inline = contender.name.startswith("ktls inline")
        return connected(contender) and not (inline and contender.provider != default_backend)

    def receivers(contender: Contender) -> bool:
        return contender.kind in ("plain", "ssl") or contender.name == AS_IT_COMES

    def stock_and_default(contender: Contender) -> bool:
        return contender.kind == "ssl" or contender.name == AS_IT_COMES

    def sealers(contender: Contender) -> bool:
        return contender.kind in ("api", "crate")

    takes = connected if full else few
    cold = SendFile(path=str(file), count=HOT_SIZE if full else HOT_SIZE // 4, cold=True)
    found = [
        Case(
            "sendfile-hot",
            "sendfile of a hot 1 GiB file",
            SendFile(path=str(file), count=HOT_SIZE),
            "gb_s",
            takes,
        ),
        Case("sendfile-cold", f"sendfile of a cold file, {_mib(cold.count)}", cold, "gb_s", takes),
    ]
    for size, label in _SIZES.items():
        call: Literal["send", "sendall"] = "send" if size <= 1024 else "sendall"
        work = Sends(size=size, seconds=seconds, call=call)
        found.append(Case(f"send-{size}", f"{call} of {label}", work, "gb_s", takes))
    for count in (4, 16, 128, 1000) if full else (128,):
        work = Sends(size=262144, seconds=seconds, connections=count)
        title = f"{count} connections, a thread each, sendall of 256 KiB"
        found.append(Case(f"connections-{count}", title, work, "gb_s", takes))
    hogged = Sends(size=262144, seconds=2 * seconds, call="send", hog=True)
    title = "send of 256 KiB beside a thread that holds the GIL"
    echo = Echo(size=1024, requests=20_000 if full else 3000)
    both = Echo(size=1024, requests=echo.requests, both=True)
    receives = Receives(size=262144, seconds=seconds)
    beside = Receives(size=262144, seconds=2 * seconds, hog=True)
    relays = Relays(size=262144, seconds=seconds)
    idle = Idle(connections=10_000 if full else 1000)
    seal = Sealing(size=16384, seconds=seconds)
    return [
        *found,
        Case("hog", title, hogged, "gb_s", takes),
        Case("echo", "1 KiB request and response", echo, "p50_us", takes),
        Case("echo-both", "the same, the client the contender's, too", both, "p50_us", receivers),
        Case("recv", "recv_into of 256 KiB", receives, "gb_s", receivers),
        Case(
            "recv-hog",
            "recv_into of 256 KiB beside a thread that holds the GIL",
            beside,
            "gb_s",
            receivers,
        ),
        Case(
            "relay",
            "recv_into of 256 KiB, and sendall on another connection",
            relays,
            "gb_s",
            receivers,
        ),
        Case(
            "idle",
            f"{idle.connections} idle connections after the handshake",
            idle,
            "connection_bytes",
            stock_and_default,
            fresh=True,
        ),
        Case("seal", "sealing 16 KiB without a connection", seal, "record_ns", sealers),
    ]


def _mib(size: int) -> str:
    return f"{size >> 20} MiB"
