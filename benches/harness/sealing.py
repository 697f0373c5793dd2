"""Sealing without a connection: through ``ktls._core.Sealer``, and by the bare crate itself."""

import subprocess
import time

from harness.contenders import Contender
from harness.work import Sample, Sealing
from ktls import _core
from ktls.constants import CRYPTO_AES_NIST_GCM_16

_BATCH = range(200)
_TLS13 = 4


def sample(contender: Contender, work: Sealing, crate: str) -> Sample:
    """Nanoseconds per record of TLS 1.3 with AES-256-GCM; `crate` is the path of ``seal_rate``."""
    if contender.kind == "crate":
        return {"record_ns": _by_crate(contender.provider, work, crate)}
    return {"record_ns": _through_python(contender.provider, work)}


def _through_python(provider: str, work: Sealing) -> float:
    keys = _core.Keys(_TLS13, CRYPTO_AES_NIST_GCM_16, bytes([7] * 32), bytes([9] * 12))
    sealer = _core.Sealer(keys, provider=provider)
    seal_into = sealer.seal_into
    data = bytes([0x5A] * work.size)
    out = bytearray(keys.header_size + work.size + keys.trailer_size)
    for _ in _BATCH:
        seal_into(data, out)
    count = 0
    start = now = time.monotonic_ns()
    deadline = start + int(work.seconds * 1e9)
    while now < deadline:
        for _ in _BATCH:
            seal_into(data, out)
        count += len(_BATCH)
        now = time.monotonic_ns()
    return (now - start) / count


def _by_crate(provider: str, work: Sealing, crate: str) -> float:
    if not crate:
        raise RuntimeError(
            "no program for the bare crate; make one with `cargo build --release -p ktls-record"
            " --example seal_rate` and give its path with --crate"
        )
    command = [crate, provider, str(work.size), str(work.seconds)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if ran.returncode:
        raise RuntimeError(f"{crate} failed: {ran.stderr.strip()}")
    return float(ran.stdout)
