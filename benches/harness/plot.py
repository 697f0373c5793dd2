"""The throughput as an SVG: a panel per case on its own scale, bars, and the runs as dots.

Written by hand: a few rectangles and words need no library.
"""

from collections.abc import Mapping
from html import escape

from harness.cases import Case
from harness.figures import FIGURES, Results, ratio, summary

_WIDTH, _MARGIN = 900, 20
_LABEL_X, _BAR_X, _BAR_WIDTH = 190, 200, 480
_ROW, _BAR, _HEAD, _GAP = 20, 13, 26, 12
_COLOURS = {"plain": "#9aa0a6", "ssl": "#c26b4a", "pyOpenSSL": "#d9a441"}
_OURS = ("#2f6f9f", "#1b4b73", "#5b9bc9", "#7fb3d8")


def svg(cases: list[Case], results: Results, facts: Mapping[str, str]) -> str:
    """One picture of all cases whose figure is a throughput."""
    shown = [case for case in cases if case.figure == "gb_s" and results.get(case.name)]
    parts: list[str] = []
    y = _MARGIN + 36
    colours = _colours(results)
    for case in shown:
        panel, height = _panel(case, results, y, colours)
        parts += panel
        y += height + _GAP
    subtitle = f"{facts['CPU']}, {facts['CPUs']} CPUs, {facts['kernel']}, {facts['date']}"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + _MARGIN}"'
        f' viewBox="0 0 {_WIDTH} {y + _MARGIN}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{y + _MARGIN}" fill="#ffffff"/>',
        _text(
            _MARGIN,
            _MARGIN + 4,
            "Plaintext sent, GB/s; over TLS 1.3 except plain",
            size=16,
            weight="bold",
        ),
        _text(_MARGIN, _MARGIN + 22, subtitle, fill="#5f6368", size=11),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _panel(
    case: Case, results: Results, top: int, colours: Mapping[str, str]
) -> tuple[list[str], int]:
    found = {
        name: (result, entry)
        for name, result in results[case.name].items()
        if (entry := summary(results, case.name, name, case.figure)) is not None
    }
    most = max((entry.high for _, entry in found.values()), default=0) or 1
    parts = [_text(_MARGIN, top + 16, case.title, weight="bold")]
    y = top + _HEAD
    for name, (result, entry) in found.items():
        width = _BAR_WIDTH * entry.median / most
        middle = y + _BAR / 2
        parts += [
            _text(_LABEL_X, y + 11, name, anchor="end"),
            f'<rect x="{_BAR_X}" y="{y}" width="{width:.1f}" height="{_BAR}"'
            f' fill="{colours[name]}"/>',
            *(
                f'<circle cx="{_BAR_X + _BAR_WIDTH * sample[case.figure] / most:.1f}"'
                f' cy="{middle}" r="2" fill="#202124" fill-opacity="0.55"/>'
                for sample in result.samples
            ),
        ]
        words = FIGURES[case.figure].text(entry.median)
        if (times := ratio(results, case.name, case.figure, name, "ssl")) is not None:
            words += f"  ({times:.2f} x ssl)"
        parts.append(_text(_BAR_X + _BAR_WIDTH + 14, y + 11, words))
        y += _ROW
    return parts, y - top


def _colours(results: Results) -> dict[str, str]:
    names = dict.fromkeys(name for of_case in results.values() for name in of_case)
    ours = [name for name in names if name not in _COLOURS]
    return {**_COLOURS, **{name: _OURS[i % len(_OURS)] for i, name in enumerate(ours)}}


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    fill: str = "#202124",
    size: int = 12,
) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" fill="{fill}"'
        f' font-size="{size}">{escape(words)}</text>'
    )
