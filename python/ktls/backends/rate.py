"""How fast a cipher provider seals and opens on this machine, measured once, a millisecond in all.

By name it cannot be known: AWS-LC is several times faster than ring where the CPU has VAES with
AVX-512; on a CPU with VAES alone it may seal faster and open slower.
"""

import itertools
import os
import time
from collections.abc import Callable
from typing import Final

from ktls import _core
from ktls.constants import CRYPTO_AES_NIST_GCM_16, TLS_MINOR_VER_THREE
from ktls.errors import BadRecord

Step = Callable[[], object]
Rate = Callable[["_core.Provider | str"], float]

_BUDGET_S: Final = 0.0005
_RECORD_LEN: Final = 16384
_PAGE_SIZE: Final = 4096
_MEASURED: Final = (TLS_MINOR_VER_THREE, CRYPTO_AES_NIST_GCM_16)

_sealing: dict[str, float] = {}
_opening: dict[str, float] = {}


def sealing_rate(provider: _core.Provider | str) -> float:
    """GB/s of full TLS 1.3 records with AES-256-GCM, on one core; the best of half a millisecond.

    The best, because whatever else runs can only make a record slower; 0 for one that does not
    take these records.
    """
    return _measured_once(_sealing, provider, _sealing_step)


def opening_rate(provider: _core.Provider | str) -> float:
    """The same of opening them."""
    return _measured_once(_opening, provider, _opening_step)


def forget(name: str) -> None:
    """Another backend may come under this name."""
    _sealing.pop(name, None)
    _opening.pop(name, None)


def _measured_once(
    known: dict[str, float],
    provider: _core.Provider | str,
    step: "Callable[[_core.Provider | str], Step]",
) -> float:
    # Without a lock: two threads that measure at once do no harm.
    name = _name(provider)
    if name not in known:
        if not _is_measured(provider):
            return 0.0
        known[name] = _rate(lambda: step(provider))
    return known[name]


def _sealing_step(provider: _core.Provider | str) -> "Step":
    keys = _some_keys()
    sealer = _core.Sealer(keys, provider=provider)
    payload = bytes(_RECORD_LEN)
    size = keys.header_size + _RECORD_LEN + keys.trailer_size
    space = memoryview(bytearray(size + _PAGE_SIZE))
    # ring takes three times as long where a record begins a few bytes behind its payload, modulo a
    # page; in one of these places none does.
    places = itertools.cycle(
        [space[at : at + size] for at in range(0, _PAGE_SIZE, _PAGE_SIZE // 4)]
    )
    return lambda: sealer.seal_into(payload, next(places))


def _opening_step(provider: _core.Provider | str) -> "Step":
    keys = _some_keys()
    record = _core.Sealer(keys).seal(bytes(_RECORD_LEN))
    opener = _core.Opener(keys, provider=provider)
    return lambda: opener.clone().open(record)


def _name(provider: _core.Provider | str) -> str:
    return provider if isinstance(provider, str) else provider.name


def _is_measured(provider: _core.Provider | str) -> bool:
    """Whether it seals what is measured."""
    return isinstance(provider, str) or (provider.computes and provider.takes(*_MEASURED, 32))


def _some_keys() -> _core.Keys:
    # A key that seals nothing else.
    return _core.Keys(*_MEASURED, os.urandom(32), os.urandom(12))


def _rate(begin: "Callable[[], Step]") -> float:
    try:
        step = begin()
        # The first one brings code and tables into the cache.
        step()
    except (OSError, ValueError, BadRecord):
        # A backend that fails is asked last of its priority.
        return 0.0
    best = float("inf")
    end = time.perf_counter() + _BUDGET_S
    while (start := time.perf_counter()) < end:
        step()
        best = min(best, time.perf_counter() - start)
    return _RECORD_LEN / best / 1e9 if best < float("inf") else 0.0
