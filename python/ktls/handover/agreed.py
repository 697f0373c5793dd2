"""What a handshake agreed on, as `ssl.SSLSocket` shows it: every answer is, or was, OpenSSL's."""

import errno
import os
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from .kept import Kept, chain_der

__all__ = ["Agreed", "Answers"]

T = TypeVar("T")

Answers = ssl.SSLObject | Kept
"""Who answers: OpenSSL, or what is kept of it."""


class Agreed:
    """The part of an SSLSocket that only asks; `_answers` is None without a connection."""

    @property
    def _answers(self) -> Answers | None:
        raise NotImplementedError

    def _connected_answers(self) -> Answers:
        if self._answers is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self._answers

    def _ask(self, question: Callable[[Answers], T]) -> T | None:
        return None if self._answers is None else question(self._answers)

    def getpeercert(self, binary_form: bool = False) -> Any:
        """As `SSLSocket.getpeercert`: a dict, or DER bytes, or None when the peer sent none."""
        return self._connected_answers().getpeercert(binary_form)

    def cipher(self) -> tuple[str, str, int] | None:
        """As `SSLSocket.cipher`: name, protocol version, secret bits."""
        return self._ask(lambda answers: answers.cipher())

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        """As `SSLSocket.shared_ciphers`."""
        return self._ask(lambda answers: answers.shared_ciphers())

    def version(self) -> str | None:
        """As `SSLSocket.version`, such as "TLSv1.3"."""
        return self._ask(lambda answers: answers.version())

    def compression(self) -> str | None:
        """As `SSLSocket.compression`."""
        return self._ask(lambda answers: answers.compression())

    def selected_alpn_protocol(self) -> str | None:
        """As `SSLSocket.selected_alpn_protocol`."""
        return self._ask(lambda answers: answers.selected_alpn_protocol())

    def get_channel_binding(self, cb_type: str = "tls-unique") -> bytes | None:
        """As `SSLSocket.get_channel_binding`."""
        return self._ask(lambda answers: answers.get_channel_binding(cb_type))

    def get_verified_chain(self) -> list[bytes]:
        """As `SSLSocket.get_verified_chain` of Python 3.13, in older versions, too."""
        return _chain(self._connected_answers(), "get_verified_chain")

    def get_unverified_chain(self) -> list[bytes]:
        """As `SSLSocket.get_unverified_chain` of Python 3.13, in older versions, too."""
        return _chain(self._connected_answers(), "get_unverified_chain")

    @property
    def session_reused(self) -> bool | None:
        """As `SSLSocket.session_reused`."""
        return self._ask(lambda answers: answers.session_reused)


def _chain(answers: Answers, name: str) -> list[bytes]:
    if isinstance(answers, Kept):
        chain: list[bytes] = getattr(answers, name)()
        return chain
    inner: Any = answers._sslobj  # type: ignore[attr-defined]  # the stub leaves it out
    return chain_der(getattr(inner, name)())
