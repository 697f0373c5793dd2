"""The command ``ktls``: reads the arguments and hands over to the module of the sub-command."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import ktls.cli.serve as serve
from ktls.cli.failure import CommandError
from ktls.errors import KTLSError
from ktls.version import version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 2 for wrong use, 1 for a failure."""
    parser = argparse.ArgumentParser(
        prog="ktls",
        description="TLS records framed, sealed and sent by native threads, after FreeBSD's KTLS.",
    )
    parser.add_argument(
        "--version", action=_PrintVersion, help="print the version of ktls and exit"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    serve.add_parser(commands)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except CommandError as error:
        print(f"ktls: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


class _PrintVersion(argparse.Action):
    """Looks the version up when it is asked for, not for every command."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(nargs=0, default=argparse.SUPPRESS, **keywords)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        try:
            print(f"ktls {version()}")
        except KTLSError as error:
            parser.exit(1, f"ktls: {error}\n")
        parser.exit(0)
