"""`ktls.contrib.gevent` under a real hub, server and client in greenlets of one thread."""

import pytest

from contrib.green_program import CASES, run


@pytest.mark.parametrize("case", [*CASES, "wsgi"])
def test_calls_wait_by_the_hub_of_gevent(case: str) -> None:
    run("gevent", case)
