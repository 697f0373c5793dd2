"""Searches the memory of another process for byte strings, by /proc/<pid>/maps and /proc/<pid>/mem.

The one who searches keeps what is searched for; the process itself need not know it.
"""

from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Find:
    """Where a needle lies: its name, the mapping that holds it, and the address."""

    name: str
    mapping: str
    address: int

    def __str__(self) -> str:
        return f"{self.name} at {self.address:#x} in {self.mapping or 'anonymous memory'}"


def search(pid: int, needles: dict[str, bytes]) -> list[Find]:
    """Every place where one of `needles` begins."""
    longest = max(map(len, needles.values()))
    found = []
    maps = Path(f"/proc/{pid}/maps").read_text()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps.splitlines():
            span, access, _, _, _, *path = line.split(maxsplit=5)
            name = path[0] if path else ""
            # The kernel's own pages cannot be read.
            if "r" not in access or name in ("[vvar]", "[vvar_vclock]", "[vsyscall]"):
                continue
            start, end = (int(number, 16) for number in span.split("-"))
            for at in range(start, end, _CHUNK):
                memory.seek(at)
                # The next chunk's beginning with it, for what lies across.
                data = memory.read(min(_CHUNK + longest, end - at))
                found += [
                    Find(needle_name, name, at + position)
                    for needle_name, needle in needles.items()
                    for position in _positions(data, needle)
                    if position < _CHUNK
                ]
    return found


def _positions(data: bytes, needle: bytes) -> list[int]:
    positions = []
    position = data.find(needle)
    while position >= 0:
        positions.append(position)
        position = data.find(needle, position + 1)
    return positions
