"""CPython's own suites with ktls in the middle: what stock passes, ktls passes."""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from cpython.suites import (
    EXCEPTIONS,
    Comparison,
    compare,
    debian_package,
    has_suites,
    suites_of,
)

VERSION = sys.version_info[:2]

MAX_EXCEPTIONS = 8
SIDE_BY_SIDE = 6
"""Suites that run at once: most of them wait for time-outs, not for a processor."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def comparisons() -> Iterator[dict[str, Future[Comparison]]]:
    if not has_suites(sys.executable):
        pytest.fail(
            f"this interpreter has no test.test_ssl; on Debian: apt-get install"
            f" {debian_package(VERSION)}"
        )
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        yield {suite: pool.submit(compare, suite) for suite in suites_of(VERSION)}


@pytest.mark.parametrize("suite", suites_of(VERSION))
def test_suite_of_cpython_passes_what_stock_passes(
    comparisons: dict[str, Future[Comparison]],
    suite: str,
    record_property: Callable[[str, object], None],
) -> None:
    comparison = comparisons[suite].result()
    assert not comparison.complaints, "\n\n".join(comparison.complaints)
    assert comparison.passed > 15
    record_property(
        "summary",
        f"cpython: {suite}: {comparison.passed} tests passed,"
        f" {comparison.taken_over} directions of connections taken over",
    )
    if suite == "test.test_ssl":
        # Most of its tests connect, and each connection has two ends and two directions.
        assert comparison.taken_over > 300


def test_list_of_exceptions_is_exact() -> None:
    assert len(EXCEPTIONS) <= MAX_EXCEPTIONS
    for name, reason in EXCEPTIONS.items():
        assert len(reason.split()) > 5, name
