"""Curves of any length in bounded memory: each column of a picture keeps its first, least, greatest and last point.

The columns are cut while the points arrive, before anyone knows how many there will be: when there are too many,
neighbours are merged. A line through what is kept has the outline of the line through everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import TypeGuard

Point = tuple[float, float]
"""Place and value."""

COLUMNS = 480
"""Columns that a curve in a report keeps, about; up to twice as many."""


class _Column:
    """The points of one column: outline, and sums for their mean."""

    __slots__ = ("count", "first", "greatest", "last", "least", "x", "y")

    def __init__(self, point: Point) -> None:
        self.first = self.last = self.least = self.greatest = point
        self.count = 1
        self.x, self.y = point

    def join(self, other: _Column) -> None:
        """Takes in the column to the right."""
        self.last = other.last
        self.least = min(self.least, other.least, key=_value)
        self.greatest = max(self.greatest, other.greatest, key=_value)
        self.count, self.x, self.y = self.count + other.count, self.x + other.x, self.y + other.y

    def outline(self) -> Iterator[Point]:
        """Its extremes by place, each once."""
        yield self.first
        inner = sorted((self.least, self.greatest))
        seen = {self.first, self.last}
        for point in inner:
            if point not in seen:
                seen.add(point)
                yield point
        if self.last != self.first:
            yield self.last


def _value(point: Point) -> float:
    return point[1]


class Series:
    """A curve of points whose places do not decrease; `add` takes one, `points` gives what is left of them.

    Args:
        columns: About this many to twice as many columns are kept.
    """

    __slots__ = ("_columns", "_kept", "_key", "_width")

    def __init__(self, columns: int = COLUMNS) -> None:
        self._columns = columns
        self._width = 0.0
        self._kept: list[_Column] = []
        self._key = -math.inf

    def add(self, x: float, y: float) -> None:
        """Takes a point; both numbers are finite."""
        key = x // self._width if self._width else x
        point = (x, y)
        if key <= self._key:
            column = self._kept[-1]
            column.last = point
            if y < column.least[1]:
                column.least = point
            elif y > column.greatest[1]:
                column.greatest = point
            column.count += 1
            column.x += x
            column.y += y
            return
        self._key = key
        self._kept.append(_Column(point))
        if len(self._kept) > 2 * self._columns:
            self._merge()

    def _merge(self) -> None:
        """Widens the columns until there are at most `columns` of them."""
        if not self._width:
            self._width = (self._kept[-1].first[0] - self._kept[0].first[0]) / self._columns or 1.0
        while True:
            merged: list[_Column] = []
            self._key = -math.inf
            for column in self._kept:
                key = column.first[0] // self._width
                if key <= self._key:
                    merged[-1].join(column)
                else:
                    merged.append(column)
                    self._key = key
            self._kept = merged
            if len(merged) <= self._columns + 1:
                return
            self._width *= 2.0

    def __bool__(self) -> bool:
        return bool(self._kept)

    @property
    def count(self) -> int:
        """How many points there were."""
        return sum(column.count for column in self._kept)

    @property
    def mean(self) -> float:
        """Mean of all values, each point counted once; not a number where there is none."""
        return sum(column.y for column in self._kept) / self.count if self._kept else math.nan

    @property
    def first(self) -> Point:
        """The first point; there is one."""
        return self._kept[0].first

    @property
    def last(self) -> Point:
        """The last point; there is one."""
        return self._kept[-1].last

    @property
    def least(self) -> Point:
        """The first point of the least value; there is one."""
        return min((column.least for column in self._kept), key=_value)

    @property
    def greatest(self) -> Point:
        """The first point of the greatest value; there is one."""
        return max((column.greatest for column in self._kept), key=_value)

    def points(self) -> list[Point]:
        """What is kept, by place: at most four points a column, every extreme among them."""
        return [point for column in self._kept for point in column.outline()]

    def trend(self) -> list[Point]:
        """The mean place and value of each column."""
        return [(column.x / column.count, column.y / column.count) for column in self._kept]


def decimated(points: Iterable[Point], columns: int = COLUMNS) -> list[Point]:
    """The outline of a curve, cut into at most twice `columns` columns."""
    series = Series(columns)
    for x, y in points:
        series.add(x, y)
    return series.points()


def smoothed(points: Sequence[Point]) -> list[Point]:
    """Mean of each point and its neighbours, a fortieth of all on both sides and so without lag; fewer at the ends."""
    reach = max(2, len(points) // 40)
    sums = list(accumulate((y for _, y in points), initial=0.0))
    result = []
    for index, (x, _) in enumerate(points):
        start, end = index - min(reach, index), index + min(reach, index, len(points) - 1 - index) + 1
        result.append((x, (sums[end] - sums[start]) / (end - start)))
    return result


def is_rough(points: Sequence[Point]) -> bool:
    """Whether a curve goes up and down so often that its course is seen better when it is smoothed."""
    if len(points) <= _FEW:
        return False
    values = [y for _, y in points]
    return sum(abs(b - a) for a, b in pairwise(values)) > _ROUGH * (max(values) - min(values))


_FEW = 60
_ROUGH = 4.0


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value of an event is a number (not a truth value) that sums and differences cannot make infinite."""
    return type(value) in _NUMBERS and -_MOST <= value <= _MOST  # type: ignore[operator]


_NUMBERS = (float, int)
_MOST = 1e290
