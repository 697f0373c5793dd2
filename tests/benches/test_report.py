"""The Markdown and the picture that a session leaves."""

from xml.etree import ElementTree

from benches.session import FACTS, SEND, session
from harness.plot import svg
from harness.report import markdown
from harness.targets import targets

SVG = "{http://www.w3.org/2000/svg}"


def document() -> str:
    results = session()
    return markdown([SEND], results, targets(results, "ring"), FACTS, "make bench")


def row(label: str) -> list[str]:
    (line,) = [line for line in document().splitlines() if line.startswith(f"| {label} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_report_names_command_date_commit_and_machine() -> None:
    assert "`make bench`, 2026-01-01 00:00 UTC, commit abc." in document()
    assert "| CPU | <two> & more |" in document()


def test_a_contender_has_median_spread_ratios_and_cpu() -> None:
    (line,) = [line for line in document().splitlines() if "| ktls pool ring |" in line]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == [
        *("", "ktls pool ring"),
        *("4.500", "33%", "3.00", "0.50"),
        *("3,641", "50%", "0.33", "2.00"),
    ]


def test_targets_come_with_limit_value_and_verdict() -> None:
    assert row("sendall of 1 MiB, times ssl") == [
        "sendall of 1 MiB, times ssl",
        "≥ 2.5",
        "3.00",
        "yes",
    ]
    assert row("send of 64 B, times ssl")[2:] == ["-", "not measured"]


def test_what_failed_is_listed_with_its_reason() -> None:
    assert "* sendall of 1 MiB, pyOpenSSL: pyOpenSSL is not installed" in document()


def test_every_row_of_a_table_has_as_many_cells_as_its_head() -> None:
    width = 0
    for line in document().splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        width = width or line.count("|")
        assert line.count("|") == width, line


def test_the_picture_has_a_bar_per_measured_contender_and_a_dot_per_run() -> None:
    root = ElementTree.fromstring(svg([SEND], session(), FACTS))  # noqa: S314 -- our own
    bars = [each for each in root.iter(f"{SVG}rect") if each.get("x")]
    widths = [float(bar.get("width", "0")) for bar in bars]
    assert len(bars) == 3
    assert widths[0] / widths[1] == 6.0
    assert len(list(root.iter(f"{SVG}circle"))) == 9
    words = [each.text for each in root.iter(f"{SVG}text")]
    assert "4.500  (3.00 x ssl)" in words
    assert any("<two> & more" in (text or "") for text in words)
