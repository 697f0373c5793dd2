"""What connections hold is bounded, and given back: memory and descriptors.

KTLS_CONNECTIONS and KTLS_STUCK are the numbers of the ordinary tests; the large ones make 20,000
and 2,000.
"""

import json
import os

import pytest

from support.ends import with_kinds
from support.programs import run_program

CONNECTIONS = int(os.environ.get("KTLS_CONNECTIONS", "1000"))
STUCK = int(os.environ.get("KTLS_STUCK", "150"))
MIB = 1 << 20


def measured(*arguments: object, timeout: float = 50) -> dict[str, int]:
    return json.loads(run_program("memory", *arguments, timeout=timeout).require_success())


@with_kinds
@pytest.mark.parametrize("write", ["send", "sendmsg", "sendall", "record", "cork"])
def test_one_byte_writes_to_a_silent_peer(kind: str, write: str) -> None:
    """What a socket holds counts with its records and bookkeeping."""
    if write == "record" and kind != "KEYED":
        write = "bytearray"
    told = measured("one-byte", kind, write)
    assert told["accepted"] > 100
    assert told["grown"] < 20 * MIB


@with_kinds
@pytest.mark.parametrize("size", [10, 1000, 5000, 16384, 16385])
def test_small_writes_to_a_silent_peer(kind: str, size: int) -> None:
    told = measured("small", kind, size)
    assert told["accepted"] > 0
    assert told["grown"] < 20 * MIB


@with_kinds
def test_short_connections_leave_nothing(kind: str) -> None:
    told = measured("short", kind, CONNECTIONS)
    assert told["descriptors"] == 0
    assert told["grown"] < 8 * MIB


@pytest.mark.large
@pytest.mark.timeout(300)
def test_twenty_thousand_short_connections_leave_nothing() -> None:
    told = measured("short", "SW", 20_000, timeout=280)
    assert told["descriptors"] == 0
    assert told["grown"] < 8 * MIB


@with_kinds
def test_stuck_connections_leave_nothing(kind: str) -> None:
    """Closed with data that nobody reads, and reset when linger_timeout has passed."""
    told = measured("stuck", kind, STUCK)
    assert told["descriptors"] == 0
    assert told["resets"] == STUCK
    assert told["grown"] < 16 * MIB


@pytest.mark.large
@pytest.mark.timeout(200)
def test_two_thousand_stuck_connections_leave_nothing() -> None:
    told = measured("stuck", "KEYED", 2000, timeout=180)
    assert told["descriptors"] == 0
    assert told["resets"] == 2000
    assert told["grown"] < 16 * MIB


@with_kinds
def test_aborted_connections_leave_nothing(kind: str) -> None:
    told = measured("aborted", kind, STUCK)
    assert told["descriptors"] == 0
    assert told["grown"] < 16 * MIB
