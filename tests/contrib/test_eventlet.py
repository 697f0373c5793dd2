"""`ktls.contrib.eventlet` under a real hub, server and client in green threads of one thread."""

import pytest

from contrib.green_program import CASES, run


@pytest.mark.parametrize("case", CASES)
def test_calls_wait_by_the_hub_of_eventlet(case: str) -> None:
    run("eventlet", case)
