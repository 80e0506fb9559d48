"""Minimum, maximum and mean of any range of a long column in time that hardly depends on its length.

A column is an append-only `array('f')`; what is missing is NaN. Blocks of 32 values are summed up once, blocks of 32
blocks again, and so on. Only columns that are drawn get a pyramid, and it grows when it is asked.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field

BLOCK = 32
"""Values, or blocks of the level below, in one block."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What a range holds: `low` and `high` (NaN when `count` is 0), the sum and the number of its finite values."""

    low: float
    high: float
    total: float
    count: int

    @property
    def mean(self) -> float:
        """Mean of the finite values, NaN when there are none."""
        return self.total / self.count if self.count else math.nan


EMPTY = Extent(math.nan, math.nan, 0.0, 0)


@dataclass(slots=True)
class _Level:
    low: array[float] = field(default_factory=lambda: array("f"))
    high: array[float] = field(default_factory=lambda: array("f"))
    total: array[float] = field(default_factory=lambda: array("d"))
    count: array[int] = field(default_factory=lambda: array("q"))

    def append(self, extent: Extent) -> None:
        self.low.append(extent.low)
        self.high.append(extent.high)
        self.total.append(extent.total)
        self.count.append(extent.count)

    def cut(self, length: int) -> None:
        for part in (self.low, self.high, self.total, self.count):
            del part[length:]

    def extent(self, start: int, stop: int) -> Extent:
        count = sum(self.count[start:stop])
        if not count:
            return EMPTY
        low, high = _bounds(self.low[start:stop]), _bounds(self.high[start:stop])
        return Extent(low[0], high[1], sum(self.total[start:stop]), count)


class Pyramid:
    """Extents of ranges of `values`, which only grows at its end, except through `cut`."""

    def __init__(self, values: array[float]) -> None:
        self._values = values
        self._levels: list[_Level] = []

    def extent(self, start: int, stop: int) -> Extent:
        """What `values[start:stop]` holds."""
        self._grow()
        return self._extent(0, max(0, start), min(stop, len(self._values)))

    def cut(self, length: int) -> None:
        """Forgets what lies behind the first `length` values; call it when they are cut."""
        for level in self._levels:
            length //= BLOCK
            level.cut(length)

    def _extent(self, level: int, start: int, stop: int) -> Extent:
        """Extent of the blocks [start, stop) of a level; level 0 is the values."""
        if stop <= start:
            return EMPTY
        first, last = -(-start // BLOCK), stop // BLOCK
        if first >= last or level >= len(self._levels):
            return self._flat(level, start, stop)
        parts = (
            self._flat(level, start, first * BLOCK),
            self._extent(level + 1, first, last),
            self._flat(level, last * BLOCK, stop),
        )
        return _join(parts)

    def _flat(self, level: int, start: int, stop: int) -> Extent:
        if stop <= start:
            return EMPTY
        return extent_of(self._values[start:stop]) if level == 0 else self._levels[level - 1].extent(start, stop)

    def _grow(self) -> None:
        length, level = len(self._values), 0
        while length >= BLOCK:
            if level == len(self._levels):
                self._levels.append(_Level())
            blocks = self._levels[level]
            for block in range(len(blocks.count), length // BLOCK):
                blocks.append(self._flat(level, block * BLOCK, (block + 1) * BLOCK))
            length //= BLOCK
            level += 1


def extent_of(values: array[float]) -> Extent:
    """Extent of a short run of values."""
    total = sum(values)
    if math.isfinite(total):
        return Extent(min(values), max(values), total, len(values)) if values else EMPTY
    finite = [value for value in values if math.isfinite(value)]
    return Extent(min(finite), max(finite), sum(finite), len(finite)) if finite else EMPTY


def _bounds(values: array[float]) -> tuple[float, float]:
    finite = [value for value in values if not math.isnan(value)]
    return min(finite), max(finite)


def _join(parts: tuple[Extent, ...]) -> Extent:
    full = [part for part in parts if part.count]
    if not full:
        return EMPTY
    return Extent(
        min(part.low for part in full),
        max(part.high for part in full),
        sum(part.total for part in full),
        sum(part.count for part in full),
    )
