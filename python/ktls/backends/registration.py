"""A backend that has registered, and what the engine knows it as."""

import re
from dataclasses import dataclass
from typing import Final

from ktls import _core
from ktls.backends.backend import Backend, Support, probe
from ktls.backends.python import Direction, SessionParams, asked
from ktls.sysctl import PREFIX, Node, sysctl

_NONE: Final = object()
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """See the module.  `provider` is None where the backend names one that was not compiled in."""

    backend: Backend
    provider: _core.Provider | None

    @classmethod
    def of(cls, backend: Backend) -> "Registration":
        """What a backend brings.  Raises ValueError or TypeError for what is none."""
        name = backend.name
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot name a backend: it takes 1 to 32 lower-case letters, digits,"
                " - and _"
            )
        if hasattr(backend, "try_session"):
            return cls(backend, _core.Provider.in_python(name))
        capsule = getattr(backend, "capsule", None)
        if capsule is not None:
            return cls(backend, _core.Provider.native(name, capsule))
        provider = getattr(backend, "provider", _NONE)
        if isinstance(provider, str):
            provider = _core.Provider.compiled_in(provider, name) if _is_there(provider) else None
        elif provider is not None and not isinstance(provider, _core.Provider):
            raise TypeError(
                f"the backend {name!r} has no provider: give it one of provider, capsule and"
                " try_session (docs/backends.md)"
            )
        return cls(backend, provider)

    @property
    def name(self) -> str:
        """The backend's."""
        return self.backend.name

    @property
    def use_count(self) -> int:
        """Sessions that have keys in its hands, each direction for itself."""
        return 0 if self.provider is None else self.provider.use_count

    def probe(self) -> Support:
        """Whether it works in this process."""
        return probe(self.backend)

    def provider_for(
        self, tls_vminor: int, cipher_algorithm: int, key_len: int, direction: Direction
    ) -> _core.Provider | None:
        """Who has the keys of a session; None: it does not take the session."""
        takes = getattr(self.backend, "takes", None)
        if takes is not None and not takes(tls_vminor, cipher_algorithm, key_len):
            return None
        if self.provider is None:
            return None
        if not self.provider.takes(tls_vminor, cipher_algorithm, key_len):
            return None
        try_session = getattr(self.backend, "try_session", None)
        if try_session is None:
            return self.provider
        session = SessionParams(tls_vminor, cipher_algorithm, key_len, direction)
        return asked(self.provider, try_session, session)

    def grow_tree(self) -> None:
        """Give it its counters; those of its name stay from before, and after it."""
        if self.provider is not None:
            name = self.provider.counted_as
            sysctl.add(*(_counter(name, kind, way) for kind in _KINDS for way in _WAYS))


def _is_there(provider: str) -> bool:
    return provider in _core.providers()


_KINDS: Final = {
    "tls10_cbc": "AES-CBC in TLS 1.0",
    "tls11_cbc": "AES-CBC in TLS 1.1 and 1.2",
    "tls12_gcm": "AES-GCM in TLS 1.2",
    "tls12_chacha20": "Chacha20-Poly1305 in TLS 1.2",
    "tls13_gcm": "AES-GCM in TLS 1.3",
    "tls13_chacha20": "Chacha20-Poly1305 in TLS 1.3",
}
_WAYS: Final = {"encrypts": "sealed", "decrypts": "opened"}


def _counter(name: str, kind: str, way: str) -> Node:
    return Node(
        name=f"{PREFIX}stats.{name}.{kind}_{way}",
        type="counter",
        flags="RD",
        counted=True,
        help=f"TLS records of {_KINDS[kind]} {_WAYS[way]} by the backend {name}",
    )
