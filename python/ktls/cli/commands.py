"""The command ``ktls`` by click: its sub-commands, each loaded when it is asked for."""

import importlib
import sys
from typing import Any, Final

import click

from ktls.cli.failure import CommandError

NAMES: Final = ("serve", "sysctl", "netstat", "top", "probe", "bench")
"""In the order of ``ktls --help``; each is ``command`` in the module of its name."""
INTERRUPTED: Final = 130


class _Commands(click.Group):
    """The sub-commands by name. A failure is one line and status 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(NAMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in NAMES:
            return None
        module = importlib.import_module(f"ktls.cli.{cmd_name}")
        found: click.Command = module.command
        return found

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CommandError as error:
            print(f"ktls: {error}", file=sys.stderr)
            ctx.exit(1)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    help="Print the version of ktls and exit.",
)
def ktls() -> None:
    """TLS records framed, sealed and sent by native threads, after FreeBSD's KTLS."""
