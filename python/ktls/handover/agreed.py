"""What a handshake agreed on, as `ssl.SSLSocket` shows it: every answer is OpenSSL's."""

import errno
import os
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["Agreed"]

T = TypeVar("T")


class Agreed:
    """The part of an SSLSocket that only asks; `_ssl_object` is None without a connection."""

    @property
    def _ssl_object(self) -> ssl.SSLObject | None:
        raise NotImplementedError

    def _connected_object(self) -> ssl.SSLObject:
        if self._ssl_object is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._ssl_object

    def _ask(self, question: Callable[[ssl.SSLObject], T]) -> T | None:
        return None if self._ssl_object is None else question(self._ssl_object)

    def getpeercert(self, binary_form: bool = False) -> Any:
        """As `SSLSocket.getpeercert`: a dict, or DER bytes, or None when the peer sent none."""
        return self._connected_object().getpeercert(binary_form)

    def cipher(self) -> tuple[str, str, int] | None:
        """As `SSLSocket.cipher`: name, protocol version, secret bits."""
        return self._ask(ssl.SSLObject.cipher)

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        """As `SSLSocket.shared_ciphers`."""
        return self._ask(ssl.SSLObject.shared_ciphers)

    def version(self) -> str | None:
        """As `SSLSocket.version`, such as "TLSv1.3"."""
        return self._ask(ssl.SSLObject.version)

    def compression(self) -> str | None:
        """As `SSLSocket.compression`."""
        return self._ask(ssl.SSLObject.compression)

    def selected_alpn_protocol(self) -> str | None:
        """As `SSLSocket.selected_alpn_protocol`."""
        return self._ask(ssl.SSLObject.selected_alpn_protocol)

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """As `SSLSocket.get_channel_binding`."""
        return self._ask(lambda ssl_object: ssl_object.get_channel_binding(cb_type))

    def pending(self) -> int:
        """As `SSLSocket.pending`: decrypted bytes that `recv` returns at once."""
        return self._ask(ssl.SSLObject.pending) or 0

    @property
    def session_reused(self) -> bool | None:
        """As `SSLSocket.session_reused`."""
        return self._ask(lambda ssl_object: ssl_object.session_reused)
