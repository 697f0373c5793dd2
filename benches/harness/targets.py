"""What the project means to hold, as comparisons inside one session."""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.contenders import AS_IT_COMES
from harness.figures import Results, ratio, summary


@dataclass(frozen=True, slots=True)
class Target:
    """A measured value and its limit; ``value`` is None where it was not measured."""

    title: str
    value: float | None
    limit: float
    at_least: bool

    @property
    def held(self) -> bool | None:
        """Whether the value keeps the limit."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def targets(results: Results, backend: str) -> list[Target]:
    """All of them, for ktls as it comes; where backends are compared, the pool with the first."""
    return list(_targets(results, f"ktls pool {backend}", backend))


def _targets(results: Results, ours: str, backend: str) -> Iterator[Target]:
    def times(case: str, other: str, figure: str = "gb_s") -> float | None:
        name = AS_IT_COMES if AS_IT_COMES in results.get(case, {}) else ours
        return ratio(results, case, figure, name, other)

    def at_least(title: str, case: str, limit: float, other: str = "ssl") -> Target:
        return Target(title, times(case, other), limit, at_least=True)

    def at_most(title: str, case: str, figure: str, limit: float) -> Target:
        return Target(title, times(case, "ssl", figure), limit, at_least=False)

    yield at_least("sendfile of a hot 1 GiB file, times ssl", "sendfile-hot", 6.0)
    yield at_least("the same, times plain sendfile", "sendfile-hot", 0.75, "plain")
    yield at_least("sendall of 1 MiB, times ssl", "send-1048576", 2.5)
    yield at_least("sendall of 16 KiB, times ssl", "send-16384", 1.5)
    yield at_least("send of 1 KiB, times ssl", "send-1024", 1.5)
    yield at_least("send of 64 B, times ssl", "send-64", 1.5)
    yield at_most("sender CPU per 16 KiB of sendfile, times ssl", "sendfile-hot", "cpu_ns", 0.25)
    yield at_least("send of 256 KiB beside a GIL-holding thread, times ssl", "hog", 20.0)
    yield at_least("128 connections in all, times ssl", "connections-128", 2.0)
    yield at_most("1 KiB request and response, p50, times ssl", "echo", "p50_us", 1.05)
    yield at_most("1 KiB request and response, p99, times ssl", "echo", "p99_us", 1.05)
    yield at_most("the same, ktls at both ends, p50, times ssl", "echo-both", "p50_us", 1.0)
    yield at_most("the same, p99, times ssl", "echo-both", "p99_us", 1.0)
    yield at_most("the same, CPU of both ends, times ssl", "echo-both", "request_cpu_us", 0.85)
    yield at_least("recv_into of 256 KiB, times ssl", "recv", 2.0)
    yield at_most("receiver CPU per 16 KiB of it, times ssl", "recv", "cpu_ns", 0.5)
    yield at_least("recv_into beside a GIL-holding thread, times ssl", "recv-hog", 10.0)
    yield at_least("a relay between two connections, times ssl", "relay", 2.5)
    yield Target(
        "sealing 16 KiB through the Python API, rate times that of the bare crate",
        ratio(results, "seal", "record_ns", f"crate {backend}", f"API {backend}"),
        0.95,
        at_least=True,
    )
    yield at_most("memory of an idle connection, times ssl", "idle", "connection_bytes", 0.5)
    memory = summary(results, "idle", AS_IT_COMES, "connection_bytes")
    kib = None if memory is None else memory.median / 1024
    yield Target("memory of an idle connection, KiB", kib, 7.0, at_least=False)
    held = summary(results, "idle", AS_IT_COMES, "connection_fds")
    descriptors = None if held is None else held.median
    yield Target("descriptors of an idle connection", descriptors, 2.0, at_least=False)
