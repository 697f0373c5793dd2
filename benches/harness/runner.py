"""Runs every case, the contenders in turn (A B C A B C ...), so that what drifts meets all of them.

Each contender has one sending process for the whole session; all share one receiver.  A contender
that fails once is left out of the rest of that case, with the reason in the result.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from harness import receiver, sender
from harness.cases import Case
from harness.contenders import Contender
from harness.processes import Child, end, hear
from harness.work import (
    RECORD_LEN,
    Echo,
    Failure,
    Idle,
    Order,
    Receives,
    Sample,
    Sends,
    Work,
    connection_count,
    shortened,
)

WARM_UP_S = 0.05
_HANDSHAKE_S = 0.05


@dataclass(slots=True)
class Result:
    """What one contender did in one case."""

    samples: list[Sample] = field(default_factory=list)
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What holds for the whole session."""

    certificate: bytes
    authority: bytes
    congestion: str
    crate: str
    timeout: float = 120.0


class Runner:
    """See the module.  A context manager: its processes end with it."""

    def __init__(self, setting: Setting, contenders: list[Contender]) -> None:
        self.setting = setting
        self.contenders = contenders
        self._senders: dict[str, Child] = {}
        self._receiver: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._children())

    def run(
        self, case: Case, runs: int, progress: Callable[[str], None] = lambda line: None
    ) -> dict[str, Result]:
        """`runs` samples of every contender that takes the case, by its name."""
        takers = [contender for contender in self.contenders if case.takes(contender)]
        results = {contender.name: Result() for contender in takers}
        if (moment := shortened(case.work, WARM_UP_S)) is not None:
            for contender in takers:
                self._note(results[contender.name], self._once(contender, moment), keep=False)
        for index in range(runs):
            for contender in takers:
                result = results[contender.name]
                if result.failure:
                    continue
                if case.fresh and (child := self._senders.pop(contender.name, None)) is not None:
                    end([child])
                self._note(result, self._once(contender, case.work))
            progress(f"{case.name}: run {index + 1} of {runs}")
        return results

    def _note(self, result: Result, sample: Sample | Failure, *, keep: bool = True) -> None:
        if isinstance(sample, Failure):
            result.failure = sample.reason
            # Nobody knows how far the processes came: the next run starts with new ones.
            for child in self._children():
                child.kill()
            self._senders.clear()
            self._receiver = None
        elif keep:
            result.samples.append(sample)

    def _once(self, contender: Contender, work: Work) -> Sample | Failure:
        setting = self.setting
        sending = self._senders.get(contender.name)
        if sending is None:
            sending = Child(
                contender.name,
                sender.main,
                contender,
                setting.certificate,
                setting.congestion,
                setting.crate,
            )
            self._senders[contender.name] = sending
        sending.tell(work)
        # The whole answer of a run without connections, else the port.
        first: Sample | Failure | tuple[str, int] = hear([sending], setting.timeout)[0]
        if not isinstance(first, tuple):
            return first
        if self._receiver is None:
            arguments = (setting.authority, setting.congestion)
            self._receiver = Child("receiver", receiver.main, *arguments)
        self._receiver.tell(Order(first[1], contender.kind, work))
        # Ten thousand handshakes are more than any other run has.
        limit = setting.timeout + _HANDSHAKE_S * connection_count(work)
        answers = hear([sending, self._receiver], limit)
        if isinstance(answers[0], Failure):
            return answers[0]
        sent, received = answers
        return sample_of(work, sent, received)

    def _children(self) -> list[Child]:
        received = [] if self._receiver is None else [self._receiver]
        return [*self._senders.values(), *received]


def sample_of(work: Work, sent: Sample, received: Sample) -> Sample | Failure:
    """The figures of a run, from what both ends saw of it."""
    if isinstance(work, Echo):
        used = sent["cpu_ns"] + (received["cpu_ns"] if work.both else 0)
        return {
            "p50_us": received["p50_us"],
            "p99_us": received["p99_us"],
            "request_cpu_us": used / work.requests / 1000,
        }
    if isinstance(work, Idle):
        return sent
    if isinstance(work, Receives):
        return _rates(sent, (sent["finished_ns"] - sent["started_ns"]) / 1e9)
    if sent["bytes"] == 0 or received["wire_bytes"] < sent["bytes"]:
        return Failure(f"{sent['bytes']:.0f} bytes were sent, {received['wire_bytes']:.0f} arrived")
    seconds = (received["finished_ns"] - sent["started_ns"]) / 1e9
    sample = _rates(sent, seconds)
    if isinstance(work, Sends):
        sample["call_ns"] = seconds * 1e9 * work.connections * work.size / sent["bytes"]
    return sample


def _rates(sent: Sample, seconds: float) -> Sample:
    return {
        "bytes": sent["bytes"],
        "seconds": seconds,
        "gb_s": sent["bytes"] / seconds / 1e9,
        "cpu_ns": sent["cpu_ns"] * RECORD_LEN / sent["bytes"],
    }
