"""Round numbers for axes, and numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """The visible part of a number line from `low` to `high`, and where it is marked.

    With `log` both ends are positive and equal ratios are equally far apart.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Share of the axis before `value`: 0 at `low`, 1 at `high`, no less and no more."""
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            share = (math.log(max(value, self.low)) - low) / (high - low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, share))


def axis(
    values: Iterable[float], *, ticks: int = 5, log: bool = False, zero: bool = False, tight: bool = False
) -> Axis:
    """An axis that shows all `values`.

    Args:
        values: Finite numbers; without any, the axis runs from 0 to 1.
        ticks: About how many marks.
        log: Logarithmic, where all values are positive (else linear).
        zero: 0 belongs to it.
        tight: It ends at the least and greatest value instead of beyond.
    """
    found = [*values, *((0.0,) if zero else ())]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    if log and low > _LEAST:
        return _logarithmic(low, high, ticks)
    if high - low <= max(_LEAST, 1e-12 * max(abs(low), abs(high))):
        room = 0.5 * abs(low) if abs(low) > _LEAST else 0.5
        low, high = (low, low + 2 * room) if zero and low == 0 else (low - room, high + room)
    step = _round_step((high - low) / max(1, ticks))
    if not tight:
        room = _ROOM * (high - low)
        # Room at both ends, but none on the other side of zero.
        low = max(0.0, low - room) if low >= 0 else low - room
        high = min(0.0, high + room) if high <= 0 else high + room
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return Axis(low, high, tuple(number * step for number in range(first, last + 1)))


def _logarithmic(low: float, high: float, ticks: int) -> Axis:
    low, high = low / _LOG_ROOM, high * _LOG_ROOM
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [10.0**power for power in range(first, last + 1) if low <= 10.0**power <= high]
    if len(powers) >= _ENOUGH_POWERS:
        return Axis(low, high, tuple(powers[:: math.ceil(len(powers) / max(2, ticks))]), log=True)
    factors = (1.0, 3.0) if len(powers) > 1 else (1.0, 2.0, 5.0)
    marks = (factor * 10.0**power for power in range(first, last + 1) for factor in factors)
    return Axis(low, high, tuple(mark for mark in marks if low <= mark <= high), log=True)


_LOG_ROOM = 1.12
_ENOUGH_POWERS = 3


def _round_step(step: float) -> float:
    """The least of 1, 2, 2.5, 5, 10 times a power of ten that is no less than `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= step * (1 - 1e-9))


_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def short(value: float) -> str:
    """A number for the mark of an axis: 0.25, 12, 1.5k, 3M, 2e-5."""
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-3:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{float(digits):g}e{int(power)}"
    for unit, letter in _UNITS:
        if size >= unit * (1 - 1e-9):
            return f"{value / unit:.4g}{letter}"
    return f"{value:.4g}"


def number(value: float | None) -> str:
    """A number for a table: whole ones in full with separators, others with four significant digits."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "not finite"
    size = abs(value)
    if size >= _WHOLE:
        return f"{value:,.0f}"
    if 0 < size < _SMALL:
        return f"{value:.2e}"
    return f"{value:.4g}"


def binary(count: float) -> str:
    """An amount of memory: 512 B, 1.5 KiB, 3.2 GiB."""
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(count) >= unit:
            return f"{count / unit:.3g} {name}" if count < 1000 * unit else f"{count / unit:,.0f} {name}"
    return f"{count:.0f} B"


def duration(seconds: float) -> str:
    """A length of time: 0.42 s, 12 s, 3 min 5 s, 2 h 10 min, 3 d 4 h."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    for big, name, small, less in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= big:
            count, rest = divmod(whole, big)
            return f"{count} {name} {rest // small} {less}" if rest // small else f"{count} {name}"
    return f"{whole} s"


_ROOM = 0.05
_LEAST = 1e-290
_WHOLE = 10_000.0
_SMALL = 1e-3
