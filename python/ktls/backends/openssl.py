"""The backend ``openssl``: the AEADs of the libcrypto that ``ssl`` uses, through its providers.

The part that OCF plays upstream: what openssl.cnf puts in front of the default provider (a card,
a validated module) does the work.  It takes a pass and a copy more than the ones compiled in, and
is asked after them.
"""

from typing import Final

from ktls import _core
from ktls.backends.backend import Support


class OpenSSL:
    """See the module."""

    name: Final = "openssl"
    prio: Final = 5  # OCF's
    api_version: Final = 1

    def __init__(self) -> None:
        self.provider: _core.Provider | None = None
        try:
            self.provider = _core.Provider.libcrypto()
        except OSError as error:
            self._support = Support(False, error.strerror or str(error))
        else:
            self._support = Support(True, "found beside ssl")

    def probe(self) -> Support:
        """Whether there is a libcrypto with providers."""
        return self._support
