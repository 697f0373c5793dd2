"""The tree ``ktls.sysctl``: FreeBSD's names, types, access and defaults, in one process.

A node is read and set by its full name, ``ktls.sysctl["kern.ipc.tls.maxlen"] = 4096``.  What a node
is stands in ``node``, the mapping in ``tree``, every node in ``nodes``; ``environment`` carries out
KTLS_SYSCTL.  Why a default is what it is says ``docs/tuning.md``.
"""

from typing import Final

from ktls.sysctl.node import PREFIX, Node, Value
from ktls.sysctl.nodes import all_nodes
from ktls.sysctl.tree import Tree

__all__ = ["PREFIX", "Node", "Tree", "Value", "enable", "sysctl"]

sysctl: Final = Tree()
sysctl.add(*all_nodes())


def enable(on: bool = True) -> None:
    """Turn kernel TLS on (or off) for sessions set up from now on.

    Both switches that FreeBSD asks for: ``kern.ipc.tls.enable`` and ``kern.ipc.mb_use_ext_pgs``.
    Sessions that exist are not touched.
    """
    sysctl["kern.ipc.mb_use_ext_pgs"] = on
    sysctl[PREFIX + "enable"] = on
