"""What a handshake agreed on, kept as plain values after OpenSSL was let go."""

import functools
import ssl
from collections.abc import Iterable
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")

Answers = Any
"""Who says what was agreed on: the object of the C module, or the `Kept` in its place."""

_SSL_ERROR_SSL: Final = 1


class Kept:
    """Answers as the `ssl.SSLObject` that it is made from, which nobody needs any more."""

    __slots__ = (
        "_alpn",
        "_certificate",
        "_certificate_der",
        "_cipher",
        "_shared_ciphers",
        "_tls_unique",
        "_unverified_chain",
        "_verified_chain",
        "_version",
        "context",
        "server_side",
        "session_reused",
    )

    def __init__(self, ssl_object: ssl.SSLObject) -> None:
        inner: Any = ssl_object._sslobj  # type: ignore[attr-defined]  # the stub leaves it out
        self.context = ssl_object.context
        self.server_side = ssl_object.server_side
        self.session_reused = ssl_object.session_reused
        self._cipher: tuple[str, str, int] | None = _one(ssl_object.cipher())
        self._version: str | None = _one(ssl_object.version())
        self._alpn: str | None = _one(ssl_object.selected_alpn_protocol())
        shared = ssl_object.shared_ciphers()
        self._shared_ciphers: tuple[tuple[str, str, int], ...] | None = (
            None if shared is None else _one(tuple(shared))
        )
        self._tls_unique = ssl_object.get_channel_binding()
        self._certificate_der = ssl_object.getpeercert(True)
        self._certificate: Any = None
        self._verified_chain: tuple[bytes, ...] = ()
        self._unverified_chain: tuple[bytes, ...] = ()
        if self._certificate_der is not None:
            self._certificate = ssl_object.getpeercert()
            self._verified_chain = tuple(chain_der(inner.get_verified_chain()))
            self._unverified_chain = tuple(chain_der(inner.get_unverified_chain()))

    @property
    def session(self) -> ssl.SSLSession | None:
        """None: OpenSSL stays where a client may want it.

        `SSLObject.session` copies it, and leaves the secret of the copy in memory.
        """
        return None

    @session.setter
    def session(self, session: ssl.SSLSession) -> None:
        if not isinstance(session, ssl.SSLSession):
            raise TypeError("Value is not a SSLSession.")
        if self.server_side:
            raise ValueError("Cannot set session for server-side SSLSocket.")
        raise ValueError("Cannot set session after handshake.")

    def getpeercert(self, binary_form: bool = False) -> Any:
        """As `SSLObject.getpeercert`."""
        if binary_form or self._certificate is None:
            return self._certificate_der
        return {**self._certificate}

    def get_verified_chain(self) -> list[bytes]:
        """As `SSLObject.get_verified_chain` of Python 3.13."""
        return list(self._verified_chain)

    def get_unverified_chain(self) -> list[bytes]:
        """As `SSLObject.get_unverified_chain` of Python 3.13."""
        return list(self._unverified_chain)

    def cipher(self) -> tuple[str, str, int] | None:
        """As `SSLObject.cipher`."""
        return self._cipher

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        """As `SSLObject.shared_ciphers`."""
        return None if self._shared_ciphers is None else list(self._shared_ciphers)

    def version(self) -> str | None:
        """As `SSLObject.version`."""
        return self._version

    def compression(self) -> None:
        """As `SSLObject.compression`: OpenSSL keeps a connection that compresses."""

    def selected_alpn_protocol(self) -> str | None:
        """As `SSLObject.selected_alpn_protocol`."""
        return self._alpn

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """As `SSLObject.get_channel_binding`."""
        if cb_type not in ssl.CHANNEL_BINDING_TYPES:
            raise ValueError(f"{cb_type!r} channel binding type not implemented")
        return self._tls_unique

    def verify_client_post_handshake(self) -> NoReturn:
        """Raise what OpenSSL raises where no certificate can be asked for."""
        if self._version != "TLSv1.3":
            raise _refused("WRONG_SSL_VERSION")
        raise _refused("EXTENSION_NOT_RECEIVED" if self.server_side else "NOT_SERVER")


def chain_der(chain: Iterable[Any] | None) -> list[bytes]:
    """The certificates of the C module as DER, as `ssl` of Python 3.13 gives them."""
    encoding = ssl._ssl.ENCODING_DER  # type: ignore[attr-defined]  # the stub leaves it out
    return [certificate.public_bytes(encoding) for certificate in chain or ()]


@functools.lru_cache(maxsize=256)
def _one(value: T) -> T:
    """The one object of this value: most connections agree on the same."""
    return value


def _refused(reason: str) -> ssl.SSLError:
    words = reason.lower().replace("_", " ")
    error = ssl.SSLError(_SSL_ERROR_SSL, f"[SSL: {reason}] {words}")
    error.library, error.reason = "SSL", reason
    return error
