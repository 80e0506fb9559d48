"""Curves of any length in bounded memory: each column of a picture keeps its first, least, greatest and last point.

The columns are cut while the points arrive, before anyone knows how many there will be: when they no longer fit,
neighbours are merged in pairs. A line through what is kept has the outline of the line through everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeGuard

Point = tuple[float, float]
"""Place and value."""

COLUMNS = 720
"""Columns of the widest curve in a report."""


class Series:
    """A curve of points whose places do not decrease; `add` takes one, `points` gives what is left of them.

    `count`, `first`, `last`, `least` and `greatest` are those of all points, `mean` too.

    Args:
        columns: Between this many and twice as many columns are kept.
    """

    __slots__ = ("_buckets", "_columns", "_total", "_width", "count", "first", "greatest", "last", "least")

    def __init__(self, columns: int = COLUMNS) -> None:
        self._columns = columns
        self._width = 1.0
        self._buckets: dict[int, list[Point]] = {}
        self._total = 0.0
        self.count = 0
        self.first = self.last = self.least = self.greatest = (math.nan, math.nan)

    def add(self, x: float, y: float) -> None:
        """Takes a point; both numbers are finite."""
        point = (x, y)
        if self.count == 0:
            self.first = self.least = self.greatest = point
        if y < self.least[1]:
            self.least = point
        if y > self.greatest[1]:
            self.greatest = point
        self.last = point
        self.count += 1
        self._total += y
        key = int(x // self._width)
        bucket = self._buckets.get(key)
        if bucket is None:
            self._buckets[key] = [point]
            if len(self._buckets) > 2 * self._columns:
                self._merge()
        elif len(bucket) < _KEPT:
            bucket.append(point)
        else:
            self._buckets[key] = _outline([*bucket, point])

    def _merge(self) -> None:
        while len(self._buckets) > self._columns:
            self._width *= 2.0
            merged: dict[int, list[Point]] = {}
            for points in self._buckets.values():
                key = int(points[0][0] // self._width)
                merged[key] = [*merged.get(key, ()), *points]
            self._buckets = {key: _outline(points) for key, points in merged.items()}

    @property
    def mean(self) -> float:
        """Mean of all values, each point counted once."""
        return self._total / self.count if self.count else math.nan

    def points(self) -> list[Point]:
        """What is kept, by place: at most eight points a column, every extreme among them."""
        return [point for key in sorted(self._buckets) for point in self._buckets[key]]


_KEPT = 4


def _outline(points: Sequence[Point]) -> list[Point]:
    """First, least, greatest and last, in their order, each once."""
    if len(points) <= _KEPT:
        return list(points)
    by_value = range(len(points))
    least = min(by_value, key=lambda index: points[index][1])
    greatest = max(by_value, key=lambda index: points[index][1])
    return [points[index] for index in sorted({0, least, greatest, len(points) - 1})]


def decimated(points: Iterable[Point], columns: int = COLUMNS) -> list[Point]:
    """The outline of a curve, cut into at most twice `columns` columns."""
    series = Series(columns)
    for x, y in points:
        series.add(x, y)
    return series.points()


def smoothed(points: Sequence[Point], span: int) -> list[Point]:
    """Exponential moving average over about `span` points, corrected for its start; the places stay."""
    share, weight, total = 2.0 / (span + 1.0), 0.0, 0.0
    result = []
    for x, y in points:
        total += share * (y - total)
        weight += share * (1.0 - weight)
        result.append((x, total / weight))
    return result


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value of an event is a finite number (not a truth value)."""
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
