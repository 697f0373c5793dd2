"""Framing and queueing alone: a socket that is full, so that nothing is sealed or sent."""

import time
from collections.abc import Iterator

import pytest

import ktls
from ktls.sysctl import PREFIX

ROUNDS = 200
SENDSPACE = PREFIX + "sendspace"
MORE_THAN_TCP_TAKES = bytes(64 << 20)


@pytest.fixture(autouse=True)
def _room_for_all() -> Iterator[None]:
    """A connection takes its room from the tree when it is made."""
    before = ktls.sysctl[SENDSPACE]
    ktls.sysctl[SENDSPACE] = 1 << 30
    yield
    ktls.sysctl[SENDSPACE] = before


@pytest.mark.parametrize("size", [65536, 262144, 1 << 20])
def test_append_to_a_full_connection(benchmark, linked, size: int) -> None:
    benchmark.group = "frame and queue, nothing sealed"
    stream, _ = linked
    stream.settimeout(0.0)
    stream.send(MORE_THAN_TCP_TAKES)
    pending = -1
    while pending != stream.pending:
        pending = stream.pending
        time.sleep(0.1)
    data = bytes(size)
    assert benchmark.pedantic(stream.send, (data,), rounds=ROUNDS) == size
    assert stream.pending == pending + ROUNDS * size
