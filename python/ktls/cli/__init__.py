"""The command ``ktls``: reads the arguments and hands over to the module of the sub-command."""

import argparse
import sys
from collections.abc import Sequence

import ktls.cli.serve as serve
from ktls.cli.failure import CommandError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 2 for wrong use, 1 for a failure."""
    parser = argparse.ArgumentParser(
        prog="ktls",
        description="TLS records framed, sealed and sent by native threads, after FreeBSD's KTLS.",
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
