"""`ktls.contrib.gevent` under a real hub, server and client in greenlets of one thread."""

import pytest

from contrib.green_program import run

CASES = (
    "echo",
    "tls12",
    "tls13",
    "sendfile",
    "openssl",
    "timeouts",
    "closing",
    "two_writers",
    "asynchronous",
    "wsgi",
    "unpatched",
)


@pytest.mark.parametrize("case", CASES)
def test_under_gevent(case: str) -> None:
    run("gevent", case)
