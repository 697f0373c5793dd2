"""``ktls sysctl``: the tree of live processes, in the form of sysctl(8)."""

from dataclasses import dataclass, field
from typing import Any

import click

from ktls.cli.failure import CommandError
from ktls.cli.numbers import of_process
from ktls.cli.processes import chosen, command_of, reason, shown
from ktls.control.client import Process
from ktls.control.protocol import ProtocolError, SysctlList, SysctlSet

Nodes = dict[str, dict[str, Any]]


@click.command(short_help="read and set the tree kern.ipc.tls of live processes")
@click.argument("names", metavar="[NAME[=VALUE]]...", nargs=-1)
@click.option("-a", "takes_all", is_flag=True, help="All nodes.")
@click.option("-d", "describes", is_flag=True, help="What a node means, instead of its value.")
@click.option("-e", "by_equals", is_flag=True, help="Name and value with = between them.")
@click.option("-i", "ignores", is_flag=True, help="Pass over names that are not there.")
@click.option("-N", "names_only", is_flag=True, help="Names alone.")
@click.option("-n", "values_only", is_flag=True, help="Values alone.")
@click.option("-t", "types", is_flag=True, help="The type of a node, instead of its value.")
@of_process
def command(
    names: tuple[str, ...],
    takes_all: bool,
    describes: bool,
    by_equals: bool,
    ignores: bool,
    names_only: bool,
    values_only: bool,
    types: bool,
    pid: int | None,
) -> None:
    """Read and set nodes of the tree of live processes.

    A name with others below it stands for them all. What is set is shown as sysctl(8) does, the
    old value and the new one. Where several processes answer, a line says which one follows. A
    process takes part when it was started with KTLS_CONTROL=1, or has called ktls.control.serve().
    """
    if takes_all == bool(names):
        raise click.UsageError("either -a or names are needed")
    form = _Form(describes, by_equals, names_only, values_only, types)
    answers = [_answer(process, names, form, ignores=ignores) for process in chosen(pid)]
    for answer in answers:
        if len(answers) > 1:
            click.echo(f"==> process {answer.pid}: {command_of(answer.pid)} <==")
        for line in answer.lines:
            click.echo(line)
        for failure in answer.failures:
            click.echo(f"sysctl: {failure}", err=True)
    if any(answer.failures for answer in answers):
        raise click.exceptions.Exit(1)


@dataclass(slots=True)
class _Answer:
    """What one process said, and what could not be done there."""

    pid: int
    lines: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class _Form:
    """How a node is shown."""

    def __init__(
        self, describes: bool, by_equals: bool, names_only: bool, values_only: bool, types: bool
    ) -> None:
        self._describes = describes
        self._between = "=" if by_equals else ": "
        self._names_only = names_only
        self._values_only = values_only
        self._types = types

    def node(self, node: dict[str, Any]) -> str:
        """The line of a node."""
        if self._names_only:
            return str(node["name"])
        what = _text(node["value"])
        if self._describes:
            what = node["help"]
        elif self._types:
            what = node["type"]
        return what if self._values_only else f"{node['name']}{self._between}{what}"

    def change(self, change: dict[str, Any]) -> str:
        """The line of a node that was set."""
        told = f"{_text(change['old'])} -> {_text(change['new'])}"
        return told if self._values_only else f"{change['name']}{self._between}{told}"


def _answer(process: Process, names: tuple[str, ...], form: _Form, *, ignores: bool) -> _Answer:
    """What a process says to all that is asked of it."""
    try:
        nodes: Nodes = {node["name"]: node for node in shown(process.ask(SysctlList()))}
    except (OSError, ProtocolError) as error:
        raise CommandError(f"process {process.pid}: {reason(error)}") from None
    answer = _Answer(process.pid)
    for word in names or ("",):
        name, equals, value = word.partition("=")
        found = _below(nodes, name)
        if not found:
            if not ignores:
                answer.failures.append(f"unknown oid '{shown(name)}'")
        elif equals:
            _set(process, nodes, name, value, form, answer)
        else:
            answer.lines += map(form.node, found)
    return answer


def _below(nodes: Nodes, name: str) -> list[dict[str, Any]]:
    """The node of this name, or all below it; of no name, all."""
    if name in nodes:
        return [nodes[name]]
    prefix = f"{name.rstrip('.')}." if name else ""
    return [node for full, node in nodes.items() if full.startswith(prefix)]


def _set(
    process: Process, nodes: Nodes, name: str, value: str, form: _Form, answer: _Answer
) -> None:
    if name not in nodes:
        answer.failures.append(f"oid '{shown(name)}' isn't a leaf node")
    elif nodes[name]["flags"] == "RD":
        answer.failures.append(f"oid '{name}' is read only")
    else:
        try:
            change = process.ask(SysctlSet(name, value))
        except (OSError, ProtocolError) as error:
            answer.failures.append(f"{name}={shown(value)}: {reason(error)}")
        else:
            answer.lines.append(form.change(shown(change)))


def _text(value: Any) -> str:
    """As sysctl(8) shows it: a bool is a number."""
    return str(int(value)) if isinstance(value, bool) else str(value)
