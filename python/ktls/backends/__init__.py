"""The registry of backends: who can seal, in which order they are asked, and why not.

A backend names one of the cipher providers that are compiled in.  They are asked in descending
priority, and of the same priority the one first that seals or opens faster, which a benchmark of a
millisecond finds out at first use; ``kern.ipc.tls.backend`` fixes one by hand.
"""

import errno
import threading
from collections.abc import Callable
from typing import Final

from ktls import params
from ktls.backends.aws_lc import AWSLC
from ktls.backends.backend import Backend, Support
from ktls.backends.rate import opening_rate, sealing_rate
from ktls.backends.ring import Ring
from ktls.per_process import PerProcess
from ktls.sysctl import PREFIX, sysctl

__all__ = [
    "Backend",
    "Support",
    "available",
    "choose",
    "deregister",
    "opening_rate",
    "register",
    "registered",
    "sealing_rate",
]

_BUILT_IN: Final[tuple[Backend, ...]] = (AWSLC(), Ring())

_backends: list[Backend] = []
# A signal handler may come back here in the middle.
_lock = PerProcess(threading.RLock)


def register(backend: Backend) -> None:
    """Add a backend, after those of the same priority.

    Raises OSError EEXIST for a name that is taken.
    """
    global _backends
    with _lock():
        if any(other.name == backend.name for other in _backends):
            raise OSError(
                errno.EEXIST, f"a backend named {backend.name!r} is registered; deregister it first"
            )
        # A new list: whoever goes through the old one is not disturbed.
        _backends = sorted([*_backends, backend], key=lambda each: -each.prio)


def deregister(backend: Backend) -> None:
    """Take a backend out; sessions that use it go on.  One that is not registered is no error.

    Raises OSError EBUSY for those that are part of the package.
    """
    global _backends
    if backend in _BUILT_IN:
        raise OSError(errno.EBUSY, f"{backend.name!r} is built in and cannot be deregistered")
    with _lock():
        _backends = [other for other in _backends if other is not backend]


def registered() -> list[Backend]:
    """Every backend, by descending priority."""
    return list(_backends)


def available(rate: Callable[[str], float] = sealing_rate) -> list[Backend]:
    """Those that work here, in the order in which they are asked; of one priority by `rate`."""
    return sorted(
        (backend for backend in _backends if backend.probe()),
        key=lambda each: (-each.prio, -rate(each.provider) if each.provider else 0.0),
    )


def choose(
    tls_vminor: int,
    cipher_algorithm: int,
    key_len: int,
    *,
    rate: Callable[[str], float] = sealing_rate,
) -> tuple[Backend, str]:
    """The backend of a new session, and its provider; `rate` says which does its work faster.

    Raises OSError EPROTONOSUPPORT when nobody takes the suite, EOPNOTSUPP when the one that
    ``kern.ipc.tls.backend`` names is not there or does not work.
    """
    name = sysctl[PREFIX + "backend"]
    candidates = available(rate)
    if name:
        candidates = [backend for backend in candidates if backend.name == name]
        if not candidates:
            raise OSError(errno.EOPNOTSUPP, _why_not(str(name)))
    for backend in candidates:
        if backend.provider is not None and backend.takes(tls_vminor, cipher_algorithm, key_len):
            return backend, backend.provider
    asked = ", ".join(backend.name for backend in candidates)
    raise OSError(
        errno.EPROTONOSUPPORT,
        f"no backend seals {params.suite_name(tls_vminor, cipher_algorithm, key_len)}"
        f" (asked: {asked}); negotiate AES-GCM or ChaCha20-Poly1305 in TLS 1.2 or 1.3",
    )


def _why_not(name: str) -> str:
    for backend in _backends:
        if backend.name == name:
            return f"kern.ipc.tls.backend is {name!r}: {backend.probe().reason}"
    known = ", ".join(backend.name for backend in available())
    return f"kern.ipc.tls.backend is {name!r}, which is not registered; available: {known}"


for _backend in _BUILT_IN:
    register(_backend)
