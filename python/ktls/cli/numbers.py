"""The numbers of the command line: what each may be, and how another one is refused."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    _ParamType = click.ParamType[float]
else:
    # Older versions are not generic.
    _ParamType = click.ParamType


class Number(_ParamType):
    """A number that `parse` makes of text; ValueError is for text that is none of this kind."""

    def __init__(self, name: str, parse: Callable[[str], float], wanted: str) -> None:
        self.name = name
        self._parse = parse
        self._wanted = wanted

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | float:
        """The number; a default is one already."""
        if not isinstance(value, str):
            number: int | float = value
            return number
        try:
            return self._parse(value)
        except ValueError:
            self.fail(f"{value!r} is not {self._wanted}", param, ctx)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return parse


def _time(text: str) -> float:
    value = float(text)
    if not 0.001 <= value <= 86400:
        raise ValueError
    return value


PORT: Final = Number("port", _whole(0, 65535), "a port; it is 0..65535")
COUNT: Final = Number("count", _whole(1, 1 << 16), "a count; it is 1..65536")
PID: Final = Number("pid", _whole(1, 1 << 22), "the number of a process; it is 1..4194304")
SECONDS: Final = Number("seconds", _time, "a time; it is 0.001..86400 seconds")

of_process: Final = click.option(
    "--pid", type=PID, metavar="PID", help="This process; default: every one of the user."
)
"""The option of the commands that ask one process, or all."""
