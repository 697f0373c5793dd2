"""The command ``ktls``: the way in, which needs none of the packages of its extra."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from ktls.errors import KTLSError
from ktls.version import version

NEEDED = ("click", "rich")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 2 for wrong use, 1 for a failure, 130 for SIGINT."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["--version"]:
        sys.exit(print_version())
    try:
        from ktls.cli.commands import ktls

        # It always exits.
        ktls.main(args=words, prog_name="ktls")
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        if name not in NEEDED:
            raise
        _say_what_is_missing(name, words)
    raise AssertionError("click exits")


def print_version() -> int:
    """Look the version up, which takes long, and print it; returns the status."""
    try:
        print(f"ktls {version()}")
    except KTLSError as error:
        print(f"ktls: {error}", file=sys.stderr)
        return 1
    return 0


def _say_what_is_missing(name: str, words: list[str]) -> NoReturn:
    """Asked for help that is an answer; else it is a failure."""
    stream = sys.stdout if {"-h", "--help"} & {*words} else sys.stderr
    print(
        f"ktls: the command line needs the package {name}, of the extra cli: pip install click rich"
        "; the library works without it, and so does switch_tls",
        file=stream,
    )
    sys.exit(int(stream is sys.stderr))
