"""Signal handlers in the middle of a call of their own thread: they may call anything, or raise."""

import pytest

from support.programs import run_program


@pytest.mark.parametrize("kind", ["SW", "NONE", "STOCK"])
@pytest.mark.parametrize("what", ["send_inside_recv", "recv_inside_recv", "wrap_inside_wrap"])
def test_handler_inside_a_call_may_do_what_it_may_inside_ssl(kind: str, what: str) -> None:
    said = run_program("handler_inside", kind, what, options=("-W", "ignore")).require_success()
    assert said == "well\n"


@pytest.mark.parametrize("kind", ["SW", "NONE"])
@pytest.mark.parametrize(
    "what",
    [
        "long_send_inside_sendall",
        "cork_that_is_interrupted",
        "unwrap_that_is_interrupted",
        "first_aio_write_inside_aio_write",
    ],
)
def test_handler_inside_a_call_may_do_what_ssl_does_not_survive(kind: str, what: str) -> None:
    said = run_program("handler_inside", kind, what, options=("-W", "ignore")).require_success()
    assert said == "well\n"
