"""Numbers as a person reads them, and a row of them as a plot of one line."""

from collections.abc import Sequence
from typing import Final

_UNITS: Final = ("", "k", "M", "G", "T", "P", "E")
_BARS: Final = "▁▂▃▄▅▆▇█"


def count(value: float) -> str:
    """Three digits or so, and a decimal unit: ``1.25M``."""
    unit = 0
    while abs(value) >= 999.5 and unit + 1 < len(_UNITS):
        value /= 1000
        unit += 1
    if not unit:
        return f"{value:.0f}"
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}{_UNITS[unit]}"


def rate(value: float) -> str:
    """Bytes in a second."""
    return f"{count(value)}B/s"


def plot(values: Sequence[float], width: int) -> str:
    """The last `width` values as bars from zero to the greatest; blanks before there were any."""
    last = list(values)[-width:]
    top = max(last, default=0.0)
    bars = "".join(
        _BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))] if top > 0 else _BARS[0]
        for value in last
    )
    return bars.rjust(width)


def suite(name: str | None) -> str:
    """``TLS 1.3 AES-GCM with a 16-byte key`` in short: ``1.3 AES-GCM-128``."""
    if name is None:
        return "-"
    words = name.split()
    try:
        version, cipher, bits = words[1], words[2], int(words[-2].removesuffix("-byte")) * 8
    except (IndexError, ValueError):
        return name
    return f"{version} {cipher}-{bits}"


def endpoint(named: Sequence[object]) -> str:
    """``127.0.0.1:443``, ``[::1]:443``, ``*:*`` where nobody is."""
    host, port = str(named[0]), named[1]
    if not host:
        return "*:*"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
