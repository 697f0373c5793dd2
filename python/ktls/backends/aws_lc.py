"""The backend ``aws-lc``: mostly the fastest one where the CPU has VAES.

It is there when the extension module was built with the feature ``aws-lc``.
"""

from typing import Final

from ktls.backends.backend import Support, compiled_in


class AWSLC:
    """See the module."""

    name: Final = "aws-lc"
    prio: Final = 10
    api_version: Final = 1
    provider: Final = "aws-lc"

    def probe(self) -> Support:
        """Whether it was compiled in."""
        return compiled_in(self.provider)
