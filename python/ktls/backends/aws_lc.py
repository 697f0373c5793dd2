"""The backend ``aws-lc``: mostly the fastest one where the CPU has VAES.

It is there when the extension module was built with the feature ``aws-lc``.
"""

from typing import Final

from ktls.backends.backend import Support, compiled_in, seals


class AWSLC:
    """See the module."""

    name: Final = "aws-lc"
    prio: Final = 10
    provider: Final = "aws-lc"

    def probe(self) -> Support:
        """Whether it was compiled in."""
        return compiled_in(self.provider)

    def takes(self, tls_vminor: int, cipher_algorithm: int, key_len: int) -> bool:
        """Every suite of ``TLSEnable``."""
        return seals(tls_vminor, cipher_algorithm, key_len)
