"""From a metric in the store to the points of a line: all where they fit, their extents per column where not."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from neat.monitor.plot import BEHIND, Line
from neat.monitor.snapshot import Snapshot
from neat.monitor.store import Metric

SMOOTHING = (0.0, 0.01, 0.03, 0.1)
"""Share of the visible range that a smoothed line averages over."""

Points = list[tuple[float, float, float] | None]


@dataclass(frozen=True, slots=True)
class View:
    """What part of the run is looked at: x in [low, high] of steps or of seconds since the start; None is its end."""

    low: float | None = None
    high: float | None = None
    by_time: bool = False


def x_range(snapshots: Sequence[Snapshot], view: View) -> tuple[float, float]:
    """The visible range in x over all runs."""
    low, high = math.inf, -math.inf
    for snapshot in snapshots:
        with snapshot.store.lock:
            table = snapshot.store.table("step")
            rows = table.rows_until(snapshot.cursor)
            if rows:
                axis: Sequence[float] = table.times if view.by_time else table.steps
                start = snapshot.course.first_time if view.by_time else 0
                low, high = min(low, axis[0] - start), max(high, axis[rows - 1] - start)
    if high < low:
        low, high = 0.0, 1.0
    low = low if view.low is None else view.low
    high = high if view.high is None else view.high
    return low, max(high, low + 1e-9)


def line(
    snapshot: Snapshot,
    metric: Metric,
    low: float,
    high: float,
    dots: int,
    *,
    style: str,
    by_time: bool = False,
    smoothing: float = 0.0,
    letter: str = "",
) -> list[Line]:
    """The line of a metric between two x, behind it the unsmoothed one in a faint colour where it is smoothed."""
    with snapshot.store.lock:
        reader = _Reader(snapshot, metric, by_time=by_time)
        first, last = reader.rows(low, high)
        if last - first <= 2 * dots:
            raw = reader.every(first, last)
        else:
            raw = reader.extents(low, high, dots)
        if not smoothing:
            return [Line(raw, style, letter)]
        smooth = reader.means(low, high, dots, smoothing)
        return [Line(raw, BEHIND), Line(smooth, style, letter)]


class _Reader:
    """Rows of one metric by x."""

    def __init__(self, snapshot: Snapshot, metric: Metric, *, by_time: bool) -> None:
        self._table, self._name = metric.table, metric.column
        self._column = metric.table.columns.get(metric.column, metric.table.times[:0])
        self._axis: Sequence[float] = self._table.times if by_time else self._table.steps
        self._origin = snapshot.course.first_time if by_time else 0.0
        self._stop = min(snapshot.rows(metric), len(self._column))

    def rows(self, low: float, high: float) -> tuple[int, int]:
        """Rows with x in [low, high] and one more at either end, so that lines leave the chart at its edge."""
        first = bisect_left(self._axis, low + self._origin, 0, self._stop)
        last = bisect_right(self._axis, high + self._origin, first, self._stop)
        return max(0, first - 1), min(self._stop, last + 1)

    def every(self, first: int, last: int) -> Points:
        """All values; what is missing is left out, what is not finite is a gap."""
        found: Points = []
        for row in range(first, last):
            value = self._column[row]
            if math.isfinite(value):
                found.append((self._axis[row] - self._origin, value, value))
        return found

    def extents(self, low: float, high: float, dots: int) -> Points:
        """Lowest and highest value per column of dots."""
        found: Points = []
        for middle, first, last in self._columns(low, high, dots):
            extent = self._table.extent(self._name, first, last)
            if extent.count:
                found.append((middle, extent.low, extent.high))
        return found

    def means(self, low: float, high: float, dots: int, share: float) -> Points:
        """Mean over a window of `share` of the range around each column of dots."""
        found: Points = []
        reach = share * (high - low) / 2
        for middle, _, _ in self._columns(low, high, dots):
            first = bisect_left(self._axis, middle - reach + self._origin, 0, self._stop)
            last = bisect_right(self._axis, middle + reach + self._origin, first, self._stop)
            extent = self._table.extent(self._name, first, last)
            if extent.count:
                found.append((middle, extent.mean, extent.mean))
        return found

    def _columns(self, low: float, high: float, dots: int) -> list[tuple[float, int, int]]:
        width = (high - low) / max(1, dots - 1)
        found, first = [], bisect_left(self._axis, low - width / 2 + self._origin, 0, self._stop)
        for dot in range(dots):
            edge = low + (dot + 0.5) * width
            last = bisect_right(self._axis, edge + self._origin, first, self._stop)
            if last > first:
                found.append((low + dot * width, first, last))
            first = last
        return found
