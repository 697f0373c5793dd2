"""The result as Markdown: the targets first, then every case, then the machine."""

from collections.abc import Mapping

from harness.cases import Case
from harness.figures import FIGURES, Results, ratio, summary
from harness.targets import Target

_BESIDE = {
    "gb_s": ("cpu_ns",),
    "p50_us": ("p99_us", "request_cpu_us"),
    "connection_bytes": ("connection_fds",),
}
_REFERENCES: dict[str, tuple[str, ...]] = {
    "gb_s": ("ssl", "plain"),
    "p50_us": ("ssl", "plain"),
    "connection_bytes": ("ssl",),
}
_HEADINGS = {
    "gb_s": "Throughput",
    "p50_us": "Latency",
    "connection_bytes": "Memory",
    "record_ns": "Sealing",
}


def markdown(
    cases: list[Case],
    results: Results,
    targets: list[Target],
    facts: Mapping[str, str],
    command: str,
) -> str:
    """One document; it names its command, machine and date."""
    lines = ["# Measured", "", f"`{command}`, {facts['date']}, commit {facts['commit']}.", ""]
    lines += ["How each number is taken: `docs/performance.md`.", ""]
    lines += ["## Targets", "", *_table(("target", "limit", "measured", "held"), _targets(targets))]
    for figure in dict.fromkeys(case.figure for case in cases):
        of_figure = [case for case in cases if case.figure == figure]
        lines += ["", f"## {_HEADINGS[figure]}", "", *_figure_table(of_figure, results, figure)]
    failures = [
        f"* {case.title}, {name}: {result.failure}"
        for case in cases
        for name, result in results.get(case.name, {}).items()
        if result.failure
    ]
    if failures:
        lines += ["", "## Not measured", "", *failures]
    lines += ["", "## Machine", "", *_table(("", ""), [(name, facts[name]) for name in facts])]
    return "\n".join(lines) + "\n"


def _figure_table(cases: list[Case], results: Results, figure: str) -> list[str]:
    shown = (figure, *_BESIDE.get(figure, ()))
    references = _REFERENCES.get(figure, ())
    head = ["case", "contender"]
    for name in shown:
        head += [FIGURES[name].label, "spread", *(f"x {other}" for other in references)]
    rows = []
    for case in cases:
        title = case.title
        for contender in results.get(case.name, {}):
            cells = [title, contender]
            for name in shown:
                cells += _cells(results, case.name, contender, name, references)
            rows.append(tuple(cells))
            title = ""
    return _table(tuple(head), rows)


def _cells(
    results: Results, case: str, contender: str, figure: str, references: tuple[str, ...]
) -> list[str]:
    found = summary(results, case, contender, figure)
    if found is None:
        return ["-"] * (2 + len(references))
    ratios = [ratio(results, case, figure, contender, other) for other in references]
    return [
        FIGURES[figure].text(found.median),
        f"{found.spread:.0%}",
        *("-" if value is None else f"{value:.2f}" for value in ratios),
    ]


def _targets(targets: list[Target]) -> list[tuple[str, ...]]:
    words = {True: "yes", False: "no", None: "not measured"}
    return [
        (
            target.title,
            f"{'≥' if target.at_least else '≤'} {target.limit:g}",
            "-" if target.value is None else f"{target.value:.2f}",
            words[target.held],
        )
        for target in targets
    ]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    numbers = ["---:" if index > 1 else "---" for index in range(len(head))]
    return [_row(head), _row(tuple(numbers)), *(_row(row) for row in rows)]


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
