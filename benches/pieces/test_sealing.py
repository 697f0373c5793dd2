"""Sealing one record through the Python API, per provider and size.  No socket, no thread."""

import pytest

from ktls import _core

SIZES = (1, 16, 64, 256, 1024, 1350, 4096, 16384)


@pytest.mark.parametrize("size", SIZES)
def test_seal_into(benchmark, keys: _core.Keys, provider: str, size: int) -> None:
    benchmark.group = f"seal_into {size} B"
    sealer = _core.Sealer(keys, provider=provider)
    data = bytes(size)
    out = bytearray(keys.header_size + size + keys.trailer_size)
    assert benchmark(sealer.seal_into, data, out) == len(out)


@pytest.mark.parametrize("size", [64, 16384])
def test_seal(benchmark, keys: _core.Keys, provider: str, size: int) -> None:
    benchmark.group = f"seal {size} B, a new bytes object"
    sealer = _core.Sealer(keys, provider=provider)
    assert len(benchmark(sealer.seal, bytes(size))) > size
