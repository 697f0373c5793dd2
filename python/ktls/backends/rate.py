"""How fast a cipher provider seals on this machine, measured once and for about a millisecond.

By name it cannot be known: AWS-LC is several times faster than ring where the CPU has VAES with
AVX-512, and slower on some CPUs without.
"""

import os
import time
from typing import Final

from ktls import _core
from ktls.constants import CRYPTO_AES_NIST_GCM_16, TLS_MINOR_VER_THREE

__all__ = ["sealing_rate"]

_BUDGET_S: Final = 0.0005
_RECORD_LEN: Final = 16384

_rates: dict[str, float] = {}


def sealing_rate(provider: str) -> float:
    """GB/s of full TLS 1.3 records with AES-256-GCM, on one core; the best of half a millisecond.

    The best, because whatever else runs can only make a record slower.
    """
    # Without a lock: two threads that measure at once do no harm.
    if provider not in _rates:
        _rates[provider] = _measure(provider)
    return _rates[provider]


def _measure(provider: str) -> float:
    # A key that seals nothing else.
    keys = _core.Keys(TLS_MINOR_VER_THREE, CRYPTO_AES_NIST_GCM_16, os.urandom(32), os.urandom(12))
    sealer = _core.Sealer(keys, provider=provider)
    payload = bytes(_RECORD_LEN)
    record = bytearray(keys.header_size + _RECORD_LEN + keys.trailer_size)
    # The first one brings code and tables into the cache.
    sealer.seal_into(payload, record)
    best = float("inf")
    end = time.perf_counter() + _BUDGET_S
    while (start := time.perf_counter()) < end:
        sealer.seal_into(payload, record)
        best = min(best, time.perf_counter() - start)
    return _RECORD_LEN / best / 1e9 if best < float("inf") else 0.0
