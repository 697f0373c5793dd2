"""Exceptions out of signal handlers, and handlers that write: no byte lost, no lock kept.

KTLS_SIGNALS is the number of signals in all, 20,000 unless given.  What an interrupted call of one
kind leaves is in ``test_mode_none``.
"""

import json
import os
from pathlib import Path

import pytest

from support.ends import KINDS, with_kinds
from support.programs import run_program

SIGNALS = int(os.environ.get("KTLS_SIGNALS", "20000"))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["SW", "NONE"])
def test_a_storm_of_signals(kind: str, tmp_path: Path) -> None:
    """Four threads write, one is interrupted; every accepted byte arrives once, in order."""
    signals = SIGNALS // 2
    done = run_program("interrupt_storm", kind, signals, tmp_path, timeout=350)
    told = json.loads(done.require_success().splitlines()[-1])
    assert told["signals"] >= signals
    # Each of these was cut short often, and went well often.
    for call in ("send", "sendall", "sendmsg", "aio_write", "sendfile"):
        assert told["finished"][call] > 10
    assert told["interrupted"] > signals // 10
    assert told["connections"] > 1


@pytest.mark.timeout(180)
@with_kinds
def test_interrupts_of_one_call_after_another(kind: str) -> None:
    """Each call by itself, thousands of times, on one connection that is never given up."""
    count = max(SIGNALS // 20, 50)
    said = run_program("one_call_storm", kind, count, timeout=170).require_success()
    assert said.splitlines()[-1] == "all of it went on"


WRITES = ["send", "sendall", "sendmsg"]


@pytest.mark.parametrize(
    ("kind", "action"),
    [
        *((kind, action) for kind in KINDS for action in [*WRITES, "aio_write"]),
        # OpenSSL insists on the write that waits; what a plain socket does is the model.
        *(("PLAIN", action) for action in WRITES),
    ],
)
def test_a_handler_writes_while_sendall_waits(kind: str, action: str) -> None:
    """Its bytes go in between, at the end of a record, as into a plain socket."""
    said = run_program("handler_writes", kind, action).require_success()
    assert said.splitlines() == ["handler done", "sendall done", "every byte once"]


@with_kinds
@pytest.mark.parametrize("action", ["close", "shutdown", "abort"])
def test_a_handler_ends_the_connection_while_sendall_waits(kind: str, action: str) -> None:
    said = run_program("handler_writes", kind, action).require_success()
    expected = {"close": "EBADF", "shutdown": "EPIPE", "abort": "ECONNABORTED"}[action]
    assert said.splitlines() == ["handler done", f"sendall {expected}", "a part, then the end"]


@with_kinds
@pytest.mark.parametrize("action", ["settimeout", "fileno", "setsockopt", "flush", "recv", "cork"])
def test_a_handler_calls_something_else_while_sendall_waits(kind: str, action: str) -> None:
    said = run_program("handler_writes", kind, action).require_success()
    assert said.splitlines() == ["handler done", "sendall done", "every byte once"]


@with_kinds
def test_a_thread_that_cannot_be_started_costs_one_call(kind: str) -> None:
    """The one that ends futures: later ones end."""
    said = run_program("no_thread", kind).require_success()
    assert said == "ten later ones ended\n"
