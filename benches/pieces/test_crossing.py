"""What it costs to come from Python to the engine and back."""

import pytest

from ktls import _core


def test_empty_property(benchmark, keys: _core.Keys) -> None:
    benchmark.group = "empty call"
    assert benchmark(lambda: keys.key_len) == 32


def test_empty_call_that_gives_up_the_gil(benchmark, linked) -> None:
    benchmark.group = "empty call"
    stream, _ = linked
    assert benchmark(stream.flush) is None


@pytest.mark.parametrize("size", [1, 64, 1024, 16384, 262144])
def test_send_to_another_process(benchmark, drained: _core.SendStream, size: int) -> None:
    benchmark.group = "SendStream.send, drained by another process"
    assert benchmark(drained.send, bytes(size)) == size
