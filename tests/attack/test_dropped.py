"""The last reference closes a connection, without the garbage collector, as with `ssl`."""

import pytest

from support.ends import with_all_kinds, with_kinds
from support.programs import run_program


@with_all_kinds
@pytest.mark.parametrize("how", ["idle", "read", "unread", "makefile", "fileno", "cork"])
def test_the_last_reference_closes(kind: str, how: str) -> None:
    if kind == "STOCK" and how == "cork":
        how = "idle"
    if kind == "KEYED" and how == "makefile":
        how = "read"
    said = run_program("dropped", kind, how, options=("-W", "ignore")).require_success()
    assert said == "the peer saw the end, nothing lives on\n"


@with_kinds
@pytest.mark.parametrize("how", ["futures", "pending", "accepted", "error", "handshake"])
def test_whatever_is_kept_of_it(kind: str, how: str) -> None:
    """Ended futures, a traceback, what is still to be sent: none of them keeps the connection."""
    if kind == "KEYED" and how == "handshake":
        how = "error"
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
