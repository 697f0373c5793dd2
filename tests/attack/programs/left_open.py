"""Leaves a connection open at the end of the interpreter.

Usage: left_open.py KIND module|builtins|cycle|late.
"""

import builtins
import sys

import ktls
from support.ends import connect

kind, where = sys.argv[1:]
ends = connect(kind)
ends.peer.close()
kept = ends.own
del ends
if where == "builtins":
    builtins.kept = kept  # type: ignore[attr-defined]
elif where == "cycle":
    cycle = [kept]
    cycle.append(cycle)  # type: ignore[arg-type]
elif where == "late":
    ktls.socket.kept = kept  # type: ignore[attr-defined]
if where != "module":
    del kept
