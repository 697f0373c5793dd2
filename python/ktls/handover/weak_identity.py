"""A mapping whose keys are weak and are told apart by identity: hashable or not, equal or not."""

import weakref
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class WeakIdentityMap(Generic[V]):
    """What is known of objects while they live.  A key is anything that takes weak references."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Any], V]] = {}

    def get(self, key: object) -> V | None:
        """Return what is known of `key`, or None."""
        entry = self._entries.get(id(key))
        return None if entry is None or entry[0]() is not key else entry[1]

    def set(self, key: object, value: V) -> None:
        """Remember `value` of `key`; TypeError for what takes no weak references."""
        number, entries = id(key), self._entries

        def forget(reference: weakref.ref[Any]) -> None:
            # The number is nobody else's before this returns.
            entry = entries.get(number)
            if entry is not None and entry[0] is reference:
                del entries[number]

        entries[number] = weakref.ref(key, forget), value

    def discard(self, key: object) -> None:
        """Forget `key`, if it is known."""
        if self.get(key) is not None:
            self._entries.pop(id(key), None)

    def alive(self) -> list[Any]:
        """Return the keys that are alive."""
        found = [reference() for reference, _ in list(self._entries.values())]
        return [key for key in found if key is not None]
