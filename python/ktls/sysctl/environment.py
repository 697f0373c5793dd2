"""The variable KTLS_SYSCTL, ``name=value,name=value``: what loader.conf is upstream.

``ktls/__init__.py`` applies it, once, when every node is there; nobody else does.
"""

import os
from typing import Final

from ktls.sysctl import sysctl

VARIABLE: Final = "KTLS_SYSCTL"


def apply() -> None:
    """Carry out every assignment.  Raises ValueError that quotes the first bad one."""
    for item in filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))):
        try:
            sysctl.assign(item)
        except ValueError as error:
            raise ValueError(f"{VARIABLE}: {error}") from None
