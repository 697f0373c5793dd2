"""What a backend is: a structural type, so that nobody has to inherit from it.

``KTLS_API_VERSION`` is the version of this file, of ``python.py`` and of ``ktls_backend.h``: a
backend that was written for another one is refused when it registers.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from ktls import _core

KTLS_API_VERSION: Final = 1
"""What ``api_version`` of a backend must be."""


@dataclass(frozen=True, slots=True)
class Support:
    """The answer of a probe; true when the thing works.  ``reason`` is for people."""

    available: bool
    reason: str

    def __bool__(self) -> bool:
        return self.available


class Backend(Protocol):
    """Seals and opens the records of sessions in software mode.

    Beside these three it has one of

    * ``provider``: a `_core.Provider`, or the name of one that is compiled in;
    * ``capsule``: a native one, as ``ktls_backend.h`` says (``get_include``);
    * ``try_session(params)``: one in Python, see ``ktls.backends.python``.

    It may have ``probe() -> Support``, whether it works in this process, which it does without; and
    ``takes(tls_vminor, cipher_algorithm, key_len) -> bool``, which leaves suites to others.
    """

    @property
    def name(self) -> str:
        """As in ``kern.ipc.tls.backend``: lower-case letters, digits, ``-`` and ``_``."""

    @property
    def prio(self) -> int:
        """Greater is asked first."""

    @property
    def api_version(self) -> int:
        """KTLS_API_VERSION, as a number of its own: that which it was written for."""


def probe(backend: Backend) -> Support:
    """Whether a backend works in this process."""
    ask = getattr(backend, "probe", None)
    return Support(True, "registered") if ask is None else ask()


def compiled_in(provider: str) -> Support:
    """The probe of a backend that is nothing but a provider."""
    if provider in _core.providers():
        return Support(True, "compiled in")
    return Support(False, f"the extension module was built without the feature {provider!r}")
