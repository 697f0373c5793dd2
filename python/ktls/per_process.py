"""Values that belong to one process: a forked child makes its own, however it was forked.

A lock that a thread of the parent held at the fork would stay locked in the child for ever.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from ktls._core import fork_count

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Called, it gives the value of this process, made by `make` when it is asked for first."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: tuple[int, T] | None = None

    def __call__(self) -> T:
        """Return the value of this process."""
        made = self._made
        if made is None or made[0] != fork_count():
            # Of two threads that come here at once one wins, for both.
            self._made = made = self._made_now()
        return made[1]

    def made(self) -> T | None:
        """Return the value of this process if it was asked for before."""
        made = self._made
        return made[1] if made is not None and made[0] == fork_count() else None

    def _made_now(self) -> tuple[int, T]:
        count = fork_count()
        value = self._make()
        made = self._made
        return made if made is not None and made[0] == count else (count, value)
