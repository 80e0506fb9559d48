"""Numbers as people read them in little room."""

from __future__ import annotations

import math

from neat.errors import printable

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_LARGE, _SMALL = 1e5, 1e-3


def number(value: float | None, digits: int = 4) -> str:
    """Up to `digits` significant digits; `n/a` for what is missing."""
    if value is None or not math.isfinite(value):
        return "n/a"
    if value == int(value) and abs(value) < _LARGE:
        return str(int(value))
    if abs(value) >= _LARGE or abs(value) < _SMALL:
        text = f"{value:.{max(0, digits - 2)}e}"
        mantissa, _, exponent = text.partition("e")
        return f"{mantissa}e{int(exponent)}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, places)}f}"


def amount(value: float | None, unit: str = "") -> str:
    """A count with k, M, G, T."""
    if value is None or not math.isfinite(value):
        return "n/a"
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g} {prefix}{unit}" if abs(value) < 1e15 else f"{value:.2e} {unit}".rstrip()
    return f"{value:.3g} {unit}".rstrip()


def size(num_bytes: float | None) -> str:
    """Bytes in binary units."""
    if num_bytes is None or not math.isfinite(num_bytes):
        return "n/a"
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes:.0f} B"


def duration(seconds: float | None) -> str:
    """Two units at most: `42 s`, `12 m`, `3 h 05 m`, `2 d 4 h`."""
    if seconds is None or not math.isfinite(seconds):
        return "n/a"
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        minutes, rest = divmod(whole, _MINUTE)
        return f"{minutes} m {rest:02d} s" if minutes < 10 else f"{minutes} m"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} m"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def percent(share: float | None) -> str:
    """A share of one as a percentage."""
    return "n/a" if share is None or not math.isfinite(share) else f"{share * 100:.0f} %"


def short(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` on one line, safe for a terminal, cut to `width` characters."""
    line = " ".join(text[: 4 * width + 64].split())
    if not line.isprintable():
        line = printable(line)
    return line if len(line) <= width else line[: max(0, width - len(ellipsis))] + ellipsis
