"""The last reference closes a connection, without the garbage collector, as with `ssl`."""

import pytest

from support.ends import KINDS, with_kinds
from support.programs import run_program


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *(
            (kind, how)
            for kind in (*KINDS, "STOCK")
            for how in ("idle", "read", "unread", "fileno")
        ),
        *((kind, "makefile") for kind in ("SW", "NONE", "STOCK")),
        *((kind, "cork") for kind in KINDS),
    ],
)
def test_the_last_reference_closes_a_connection(kind: str, how: str) -> None:
    said = run_program("dropped", kind, how, options=("-W", "ignore")).require_success()
    assert said == "the peer saw the end, nothing lives on\n"


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *((kind, how) for kind in KINDS for how in ("futures", "pending", "accepted", "error")),
        *((kind, "handshake") for kind in ("SW", "NONE", "STOCK")),
    ],
)
def test_nothing_that_is_kept_of_a_connection_keeps_it_open(kind: str, how: str) -> None:
    """Ended futures, an error, what is still to be sent: none of them keeps the connection."""
    said = run_program("dropped", kind, how, options=("-W", "ignore")).require_success()
    assert said == "the peer saw the end, nothing lives on\n"


@pytest.mark.parametrize("kind", ["SW", "NONE", "STOCK"])
def test_an_unclosed_connection_is_a_warning(kind: str) -> None:
    """As that of `ssl`, when it is dropped without a close."""
    outcome = run_program("dropped", kind, "idle", options=("-W", "always"))
    outcome.require_success()
    assert "ResourceWarning: unclosed" in outcome.errors


@with_kinds
def test_a_closed_connection_with_ended_futures(kind: str) -> None:
    """Descriptors are back while the futures are kept."""
    said = run_program("ended_futures", kind).require_success()
    assert said == "all descriptors are back\n"
