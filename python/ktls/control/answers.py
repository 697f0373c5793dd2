"""What this process answers to a request of the control protocol. No I/O but that of the answer."""

from typing import Any, Final

from ktls import connections
from ktls.constants import Mode
from ktls.control.protocol import (
    Connections,
    Request,
    Switch,
    SysctlGet,
    SysctlList,
    SysctlSet,
)
from ktls.sysctl import Node, Value, sysctl

PAGE: Final = 64
"""Connections of one answer: two milliseconds of the interpreter at most."""


def answer(request: Request) -> Any:
    """The result, fit for JSON.  Raises KeyError, ValueError, TypeError and OSError as the tree."""
    match request:
        case SysctlList():
            return [_node(sysctl.node(name), value) for name, value in sysctl.snapshot().items()]
        case SysctlGet(name):
            return _node(sysctl.node(name), sysctl[name])
        case SysctlSet(name, text):
            node = sysctl.node(name)
            before = sysctl[name]
            sysctl[name] = node.parse(text)
            return {"name": name, "type": node.type, "old": before, "new": sysctl[name]}
        case Connections(after):
            return _page(after)
        case Switch(mode, local, foreign):
            connections.switch(local, foreign, Mode.IFNET if mode == "ifnet" else Mode.SW)
            return None


def _node(node: Node, value: Value) -> dict[str, Any]:
    return {
        "name": node.name,
        "type": node.type,
        "flags": node.flags,
        "help": node.help,
        "value": value,
    }


def _page(after: int) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    more = False
    for connection in connections.live(after):
        if len(found) == PAGE:
            more = True
            break
        found.append(connection.as_dict())
    return {"connections": found, "more": more, "gone": connections.gone()}
