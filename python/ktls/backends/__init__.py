"""The registry of backends: who can seal and open, in which order they are asked, and why not.

They are asked in descending priority, and of the same priority the one first that seals or opens
faster, which a benchmark of a millisecond finds out at first use; ``kern.ipc.tls.backend`` fixes
one by hand.  The first that takes a session has it, in its direction, until it ends.
"""

import errno
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ktls import _core, log, params
from ktls.backends import plug_ins
from ktls.backends.aws_lc import AWSLC
from ktls.backends.backend import KTLS_API_VERSION, Backend, Support, probe
from ktls.backends.openssl import OpenSSL
from ktls.backends.python import Cipher, Direction, Record, SessionParams
from ktls.backends.rate import forget, opening_rate, sealing_rate
from ktls.backends.registration import Registration
from ktls.backends.ring import Ring
from ktls.per_process import PerProcess
from ktls.sysctl import PREFIX, Node, sysctl

if TYPE_CHECKING:
    from ktls.backends.rate import Rate

__all__ = [
    "KTLS_API_VERSION",
    "Backend",
    "Cipher",
    "Record",
    "SessionParams",
    "Support",
    "available",
    "choose",
    "deregister",
    "get_include",
    "opening_rate",
    "probe",
    "provider",
    "register",
    "registered",
    "sealing_rate",
    "use_count",
]

_BUILT_IN: Final[tuple[Backend, ...]] = (AWSLC(), Ring(), OpenSSL())
_LOG: Final = log.logger("backends")

_registrations: list[Registration] = []
_is_loaded = False
# A signal handler may come back here in the middle.
_lock = PerProcess(threading.RLock)

sysctl.add(
    Node(
        name=PREFIX + "allow_unload",
        type="int",
        flags="RDTUN",
        default=0,
        high=1,
        help="Allow software crypto modules to unload",
    ),
    Node(
        name=PREFIX + "load_backends",
        type="bool",
        flags="RW",
        default=True,
        help="Load the backends of other distributions at the first look at the registry",
    ),
)


def register(backend: Backend) -> None:
    """Add a backend; of the same priority, whose rates are the same, it is asked after the others.

    Raises OSError EINVAL for another API version, EEXIST for a name that is taken; ValueError or
    TypeError for what is no backend.
    """
    global _registrations
    theirs = getattr(backend, "api_version", None)
    if theirs != KTLS_API_VERSION:
        raise OSError(
            errno.EINVAL,
            f"KTLS: API version mismatch ({theirs} vs {KTLS_API_VERSION}) for {backend.name};"
            " it was written for another ktls: give it an api_version of this one's when it fits",
        )
    new = Registration.of(backend)
    with _lock():
        if any(other.name == new.name for other in _registrations):
            raise OSError(
                errno.EEXIST, f"a backend named {new.name!r} is registered; deregister it first"
            )
        new.grow_tree()
        # A new list: whoever goes through the old one is not disturbed.
        _registrations = [*_registrations, new]
    _LOG.info("KTLS: Registering crypto method %s with prio %d", new.name, backend.prio)


def deregister(backend: Backend) -> None:
    """Take a backend out.  One that is not registered is no error.

    Raises OSError EBUSY while ``kern.ipc.tls.allow_unload`` is 0, for one that has sessions, and
    for those that are part of the package.
    """
    global _registrations
    if backend in _BUILT_IN:
        raise OSError(errno.EBUSY, f"{backend.name!r} is built in and cannot be deregistered")
    with _lock():
        found = next((each for each in _registrations if each.backend is backend), None)
        if found is None:
            return
        if not sysctl[PREFIX + "allow_unload"]:
            raise OSError(
                errno.EBUSY,
                f"KTLS: Deregistering crypto method {found.name} is not supported; set"
                " kern.ipc.tls.allow_unload to 1 before the first ktls.Socket",
            )
        if found.use_count:
            raise OSError(
                errno.EBUSY,
                f"the backend {found.name!r} has the keys of {found.use_count} sessions (a"
                " connection has one in each direction); close them, and lower its prio to get no"
                " more",
            )
        _registrations = [each for each in _registrations if each is not found]
    forget(found.name)


def get_include() -> str:
    """The directory of ``ktls_backend.h``, for those who build a native backend."""
    return str(Path(__file__).parent)


def registered() -> list[Backend]:
    """Every backend, by descending priority."""
    _load_once()
    # Looked up each time: an operator may change it.
    by_priority = sorted(_registrations, key=lambda each: -each.backend.prio)
    return [each.backend for each in by_priority]


def available(rate: "Rate" = sealing_rate) -> list[Backend]:
    """Those that work here, in the order in which they are asked; of one priority by `rate`."""
    return [each.backend for each in _available(rate)]


def use_count(backend: Backend) -> int:
    """Sessions that have keys in its hands, each direction for itself."""
    return sum(each.use_count for each in _registrations if each.backend is backend)


def provider(backend: Backend) -> _core.Provider | None:
    """Who does the work of a registered backend; None where that was not compiled in."""
    found = (each.provider for each in _registrations if each.backend is backend)
    return next(found, None)


def choose(
    tls_vminor: int,
    cipher_algorithm: int,
    key_len: int,
    *,
    opens: bool = False,
) -> tuple[Backend, _core.Provider]:
    """The backend of a new session, and who has its keys; `opens`: to receive, else to send.

    Raises OSError EPROTONOSUPPORT when nobody takes the suite, EOPNOTSUPP when the one that
    ``kern.ipc.tls.backend`` names is not there or does not work.
    """
    name = sysctl[PREFIX + "backend"]
    candidates = _available(opening_rate if opens else sealing_rate)
    if name:
        candidates = [each for each in candidates if each.name == name]
        if not candidates:
            raise OSError(errno.EOPNOTSUPP, _why_not(str(name)))
    direction: Direction = "receive" if opens else "send"
    for each in candidates:
        found = each.provider_for(tls_vminor, cipher_algorithm, key_len, direction)
        if found is not None:
            return each.backend, found
    asked = ", ".join(each.name for each in candidates)
    raise OSError(
        errno.EPROTONOSUPPORT,
        f"no backend seals {params.suite_name(tls_vminor, cipher_algorithm, key_len)}"
        f" (asked: {asked}); negotiate AES-GCM or ChaCha20-Poly1305 in TLS 1.2 or 1.3",
    )


def _load_once() -> None:
    global _is_loaded
    if _is_loaded or not sysctl[PREFIX + "load_backends"]:
        return
    with _lock():
        is_first, _is_loaded = not _is_loaded, True
    # Without the lock: a plug-in may look at the registry, from whatever thread imports it.
    if is_first:
        plug_ins.load(register)


def _available(rate: "Rate") -> list[Registration]:
    _load_once()
    found = [each for each in _registrations if each.probe()]
    shared = Counter(each.backend.prio for each in found)

    def order(each: Registration) -> tuple[int, float]:
        # Where the priority decides, nothing is measured.
        if each.provider is None or shared[each.backend.prio] == 1:
            return -each.backend.prio, 0.0
        return -each.backend.prio, -rate(each.provider)

    return sorted(found, key=order)


def _why_not(name: str) -> str:
    for each in _registrations:
        if each.name == name:
            return f"kern.ipc.tls.backend is {name!r}: {each.probe().reason}"
    known = ", ".join(backend.name for backend in available())
    return f"kern.ipc.tls.backend is {name!r}, which is not registered; available: {known}"


for _backend in _BUILT_IN:
    register(_backend)
