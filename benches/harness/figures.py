"""Medians, spreads and ratios of a session's results, for the report, the plot and the targets."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median as middle
from typing import Any

from harness.runner import Result


@dataclass(frozen=True, slots=True)
class Figure:
    """How a figure is written.  A value is shown divided by `scale`."""

    label: str
    digits: int
    more_is_better: bool
    scale: float = 1.0

    def text(self, value: float) -> str:
        """The value in the figure's unit."""
        return f"{value / self.scale:,.{self.digits}f}"


FIGURES: dict[str, Figure] = {
    "gb_s": Figure("GB/s", 3, more_is_better=True),
    "cpu_ns": Figure("CPU ns per 16 KiB", 0, more_is_better=False),
    "p50_us": Figure("p50 µs", 1, more_is_better=False),
    "p99_us": Figure("p99 µs", 1, more_is_better=False),
    "request_cpu_us": Figure("CPU µs per request", 2, more_is_better=False),
    "connection_bytes": Figure("KiB per connection", 1, more_is_better=False, scale=1024),
    "connection_fds": Figure("descriptors per connection", 2, more_is_better=False),
    "record_ns": Figure("ns per record", 0, more_is_better=False),
}


@dataclass(frozen=True, slots=True)
class Summary:
    """One figure over the runs of one contender in one case."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Distance of the best and the worst run, as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


Results = Mapping[str, Mapping[str, Result]]
"""By the names of case and contender."""


def summary(results: Results, case: str, contender: str, figure: str) -> Summary | None:
    """None where it was not measured."""
    result = results.get(case, {}).get(contender)
    if result is None:
        return None
    values = [sample[figure] for sample in result.samples if figure in sample]
    if not values:
        return None
    return Summary(middle(values), min(values), max(values))


def ratio(results: Results, case: str, figure: str, one: str, other: str) -> float | None:
    """The median of `one` divided by that of `other`."""
    above, below = (summary(results, case, name, figure) for name in (one, other))
    if above is None or below is None or not below.median:
        return None
    return above.median / below.median


def as_json(results: Results) -> dict[str, Any]:
    """Every sample, and the summaries that the report shows."""
    return {
        case: {
            contender: {
                "failure": result.failure,
                "samples": result.samples,
                "medians": {
                    figure: found.median
                    for figure in FIGURES
                    if (found := summary(results, case, contender, figure)) is not None
                },
            }
            for contender, result in of_case.items()
        }
        for case, of_case in results.items()
    }
