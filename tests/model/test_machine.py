"""The model against the real thing, for a given time (`make model SECONDS=3600`)."""

import time

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

import ktls
from model.machine import Connection
from model.profile import SECONDS

ROUND = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(SECONDS + 300)
def test_any_calls_in_any_order(enabled: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Every connection brings at its far end what its calls accepted, in order, by type."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        run_state_machine_as_test(Connection, settings=ROUND)
    counts = ", ".join(f"{value} {name}" for name, value in Connection.counts.items())
    with capsys.disabled():
        print(f"\nmodel: {counts}, {len(ktls.backends.available())} backends available")
    assert Connection.counts["records"] > 0
