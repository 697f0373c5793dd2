"""Backends that other distributions bring, found through the entry-point group ``ktls.backends``.

An entry point names a backend, or a class that makes one without arguments.  One that cannot be
loaded is said in the log, and is nobody's problem.
"""

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from ktls import log

GROUP: Final = "ktls.backends"
_LOG: Final = log.logger("backends")


def load(register: Callable[[Any], None]) -> None:
    """Register what is installed."""
    for point, backend in _found():
        try:
            register(backend)
        except Exception:
            _LOG.warning("the backend of the entry point %s was refused", point, exc_info=True)


def _found() -> Iterator[tuple[EntryPoint, object]]:
    for point in entry_points(group=GROUP):
        try:
            loaded = point.load()
            yield point, loaded() if isinstance(loaded, type) else loaded
        except Exception:
            _LOG.warning("the backend of the entry point %s cannot be loaded", point, exc_info=True)
