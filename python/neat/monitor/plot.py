"""Line charts of braille dots: two by four dots a cell, axes with round numbers, bands, marks, a cursor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import amount, number

BEHIND = "raw"
"""Style of a line that gives way to others in the cells they share: a cell has one colour."""

_DOT = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800
_LARGE, _SMALL = 1e4, 1e-4


@dataclass(frozen=True, slots=True)
class Line:
    """One line: points of (x, low, high) from left to right, `low == high` where there is one value; None is a gap.

    A `letter` stands behind the last point; with a `marker` every point is that character and nothing connects them.
    """

    points: Sequence[tuple[float, float, float] | None]
    style: str
    letter: str = ""
    marker: str = ""


@dataclass(frozen=True, slots=True)
class Band:
    """A region between two curves: points of (x, low, high)."""

    points: Sequence[tuple[float, float, float]]
    style: str = "band"


@dataclass(frozen=True, slots=True)
class Axes:
    """The visible range. `step` labels the x axis as a count; otherwise it is seconds."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    log: bool = False

    def row(self, y: float, dots: int) -> int:
        """The dot row of a value, 0 at the top."""
        low, high = self.y_low, self.y_high
        if self.log:
            y, low, high = math.log10(max(y, 1e-300)), math.log10(low), math.log10(high)
        return round((high - y) / (high - low) * (dots - 1))

    def column(self, x: float, dots: int) -> int:
        """The dot column of an x."""
        return round((x - self.x_low) / (self.x_high - self.x_low) * (dots - 1))


def fit(lines: Sequence[Line], bands: Sequence[Band], x_low: float, x_high: float, *, log: bool) -> Axes | None:
    """Axes that hold everything visible, None when nothing is."""
    points = [point for line in lines for point in line.points] + [point for band in bands for point in band.points]
    visible = [point for point in points if point is not None and x_low <= point[0] <= x_high]
    values = [value for _, *both in visible for value in both if not log or value > 0]
    if not values:
        return None
    low, high = min(values), max(values)
    if log:
        low, high = low / 1.05, high * 1.05
        return Axes(x_low, _wider(x_low, x_high), low, high if high > low else low * 10, log=True)
    margin = (high - low) * 0.04 or abs(high) * 0.05 or 1.0
    return Axes(x_low, _wider(x_low, x_high), low - margin, high + margin)


def _wider(low: float, high: float) -> float:
    return high if high > low else low + 1.0


def draw(
    canvas: Canvas,
    area: Rect,
    axes: Axes,
    lines: Sequence[Line],
    bands: Sequence[Band] = (),
    marks: Sequence[tuple[float, str, str]] = (),
    cursor: float | None = None,
    *,
    seconds: bool = False,
) -> Rect:
    """Draws a chart; marks are (x, character, style) on its lower edge. Returns the plotted part."""
    ticks = y_ticks(axes, max(2, area.height // 3))
    labels = tick_labels(ticks)
    left = min(max((len(label) for label in labels), default=1) + 1, max(0, area.width - 8))
    plot = Rect(area.x + left, area.y, area.width - left, area.height - 1)
    if plot.width < 4 or plot.height < 2:
        return plot
    _draw_y(canvas, plot, axes, ticks, labels, left)
    for band in bands:
        _draw_band(canvas, plot, axes, band)
    _Dots(plot, axes).draw(canvas, lines)
    _draw_x(canvas, plot, axes, marks, seconds=seconds)
    if cursor is not None and axes.x_low <= cursor <= axes.x_high:
        x = plot.x + axes.column(cursor, plot.width)
        for y in range(plot.y, plot.y + plot.height):
            if canvas.chars[y][x] in " ┈":
                canvas.put(x, y, "┊", "warn")
    return plot


def y_ticks(axes: Axes, wanted: int) -> list[float]:
    """Round values inside the visible range."""
    if axes.log:
        return _log_ticks(axes.y_low, axes.y_high, wanted)
    return _round_ticks(axes.y_low, axes.y_high, wanted)


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """The values with as many decimals as tell them apart."""
    largest = max(map(abs, ticks), default=0.0)
    if not ticks or largest >= _LARGE or largest < _SMALL:
        return [amount(tick).replace(" ", "") if largest >= _LARGE else number(tick, 3) for tick in ticks]
    for decimals in range(7):
        labels = [f"{tick:.{decimals}f}" for tick in ticks]
        if all(
            math.isclose(float(label), tick, rel_tol=1e-6, abs_tol=1e-9)
            for label, tick in zip(labels, ticks, strict=True)
        ):
            return labels
    return [number(tick) for tick in ticks]


def _round_ticks(low: float, high: float, wanted: int) -> list[float]:
    raw = (high - low) / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    width = next((factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw), 10 * power)
    first = math.ceil(low / width)
    return [tick * width for tick in range(first, first + wanted + 2) if low <= tick * width <= high]


def _log_ticks(low: float, high: float, wanted: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high]
        if len(ticks) <= wanted + 1:
            return ticks or [low, high]
    stride = -(-len(ticks) // wanted)
    return ticks[::stride]


def _draw_y(canvas: Canvas, plot: Rect, axes: Axes, ticks: Sequence[float], labels: Sequence[str], left: int) -> None:
    for y in range(plot.y, plot.y + plot.height):
        canvas.put(plot.x - 1, y, "│", "frame")
    for tick, label in zip(ticks, labels, strict=True):
        y = plot.y + axes.row(tick, plot.height * 4) // 4
        canvas.put(plot.x - left, y, label.rjust(left - 1), "dim", left - 1)
        canvas.put(plot.x - 1, y, "┤", "frame")
        canvas.put(plot.x, y, "┈" * plot.width, "faint")


def _draw_x(canvas: Canvas, plot: Rect, axes: Axes, marks: Sequence[tuple[float, str, str]], *, seconds: bool) -> None:
    y = plot.y + plot.height
    canvas.put(plot.x - 1, y, "└" + "─" * plot.width, "frame")
    free = plot.x - 1
    for tick in _round_ticks(axes.x_low, axes.x_high, max(3, plot.width // 10)):
        text = _span(tick) if seconds else amount(tick).replace(" ", "")
        x = plot.x + axes.column(tick, plot.width)
        start = min(max(plot.x - 1, x - len(text) // 2), plot.x + plot.width - len(text))
        if start > free:
            canvas.put(start, y, text, "dim")
            free = start + len(text)
    for at, char, style in marks:
        if axes.x_low <= at <= axes.x_high:
            canvas.put(plot.x + axes.column(at, plot.width), y, char, style)


def _span(seconds: float) -> str:
    if abs(seconds) >= 3600:
        return f"{seconds / 3600:g}h"
    return f"{seconds / 60:g}m" if abs(seconds) >= 60 else f"{seconds:g}s"


def _draw_band(canvas: Canvas, plot: Rect, axes: Axes, band: Band) -> None:
    points = [point for point in band.points if axes.x_low <= point[0] <= axes.x_high]
    for (x0, low0, high0), (x1, low1, high1) in pairwise(points):
        first, last = axes.column(x0, plot.width), axes.column(x1, plot.width)
        for column in range(first, last + 1):
            share = (column - first) / max(1, last - first)
            low, high = low0 + share * (low1 - low0), high0 + share * (high1 - high0)
            top = max(0, axes.row(high, plot.height * 4) // 4)
            bottom = min(plot.height - 1, axes.row(low, plot.height * 4) // 4)
            for row in range(top, bottom + 1):
                canvas.put(plot.x + column, plot.y + row, "░", f"info on {band.style}")


class _Dots:
    """The braille dots of one chart; a cell has the style of the line drawn last in it."""

    def __init__(self, plot: Rect, axes: Axes) -> None:
        self._plot, self._axes = plot, axes
        self._width, self._height = plot.width * 2, plot.height * 4
        self._cells: dict[tuple[int, int], tuple[int, str]] = {}

    def draw(self, canvas: Canvas, lines: Sequence[Line]) -> None:
        for line in lines:
            if not line.marker:
                self._line(line)
        for (x, y), (bits, style) in self._cells.items():
            back = canvas.styles[self._plot.y + y][self._plot.x + x].partition(" on ")[2]
            canvas.put(self._plot.x + x, self._plot.y + y, chr(_BLANK + bits), f"{style} on {back}" if back else style)
        for line in lines:
            self._letter(canvas, line)
            for point in line.points if line.marker else ():
                self._put(canvas, point, line.marker, line.style, 0)

    def _letter(self, canvas: Canvas, line: Line) -> None:
        last = next((point for point in reversed(line.points) if point is not None), None)
        if line.letter:
            self._put(canvas, last, line.letter, f"{line.style} bold", 1)

    def _put(self, canvas: Canvas, point: tuple[float, float, float] | None, char: str, style: str, right: int) -> None:
        """A character at a point, or `right` of it."""
        if point is None or not self._axes.x_low <= point[0] <= self._axes.x_high or (self._axes.log and point[2] <= 0):
            return
        x = min(self._axes.column(point[0], self._width) // 2 + right, self._plot.width - 1)
        y = self._axes.row(point[2], self._height) // 4
        if 0 <= y < self._plot.height:
            canvas.put(self._plot.x + x, self._plot.y + y, char, style)

    def _line(self, line: Line) -> None:
        before: tuple[int, int, int] | None = None
        for point in line.points:
            if point is None or (self._axes.log and point[2] <= 0):
                before = None
                continue
            x = self._axes.column(point[0], self._width)
            top, bottom = self._row(point[2]), self._row(point[1])
            if before is not None and 0 <= x < self._width + 2:
                self._join(before, x, top, bottom, line.style)
            self._vertical(x, top, bottom, line.style)
            before = (x, top, bottom)

    def _row(self, value: float) -> int:
        return self._axes.row(value, self._height)

    def _join(self, before: tuple[int, int, int], x: int, top: int, bottom: int, style: str) -> None:
        """Connects two neighbours: straight between points, or up and down until their spans touch."""
        x0, top0, bottom0 = before
        if x - x0 <= 1:
            if top > bottom0:
                self._vertical(x, bottom0, top, style)
            elif bottom < top0:
                self._vertical(x, bottom, top0, style)
            return
        y0, y1 = (top0 + bottom0) // 2, (top + bottom) // 2
        first = max(x0, 0)
        for column in range(first, min(x, self._width)):
            share = (column - x0) / (x - x0)
            after = (column + 1 - x0) / (x - x0)
            ends = sorted((round(y0 + share * (y1 - y0)), round(y0 + after * (y1 - y0))))
            self._vertical(column, ends[0], max(ends[0], ends[1] - 1), style)

    def _vertical(self, x: int, top: int, bottom: int, style: str) -> None:
        if not 0 <= x < self._width:
            return
        for y in range(max(0, top), min(self._height - 1, bottom) + 1):
            cell = (x // 2, y // 4)
            bits, before = self._cells.get(cell, (0, style))
            if before == BEHIND != style:
                bits = 0
            self._cells[cell] = (bits | _DOT[y % 4][x % 2], style)
