"""What all screens share: what they draw from, and the small pieces that several of them use."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from neat.monitor.canvas import Canvas, Rect
from neat.monitor.series import SMOOTHING, View
from neat.monitor.snapshot import Snapshot
from neat.monitor.theme import EIGHTHS

NARROW, LOW = 80, 22
"""Below this width or height of a screen, details give way."""


@dataclass
class Looks:
    """How charts are looked at; shared by all screens."""

    view: View = field(default_factory=View)
    log: bool = False
    smoothing: int = 2
    overlay: bool = True

    @property
    def smoothing_share(self) -> float:
        """Share of the range that lines are averaged over."""
        return SMOOTHING[self.smoothing]


@dataclass(frozen=True)
class Context:
    """One drawing: the runs, which of them is in front, how charts look, and who reads lines of the file."""

    snapshots: Sequence[Snapshot]
    front: int
    looks: Looks
    lines_at: Callable[[list[int]], list[bytes]] = lambda offsets: [b""] * len(offsets)

    @property
    def run(self) -> Snapshot:
        """The run in front."""
        return self.snapshots[self.front]


class Screen(ABC):
    """One screen. `draw` fills a canvas and may not fail on any run; state is what keys changed."""

    name = ""

    def __init__(self) -> None:
        self.offset = 0
        self.filter = ""

    @abstractmethod
    def draw(self, canvas: Canvas, context: Context) -> None:
        """Draws the run in front on the whole canvas."""

    def scroll(self, lines: int) -> None:
        """Moves up or down; `draw` keeps it in range."""
        self.offset = max(0, self.offset + lines)

    def move(self, places: int) -> None:  # noqa: B027 - most screens have nothing to do here
        """Moves left or right."""

    def open(self) -> None:  # noqa: B027 - most screens have nothing to do here
        """Opens or closes what is selected."""

    def click(self, action: str) -> None:  # noqa: B027 - most screens have nothing to do here
        """A click on a place that `draw` marked."""


def facts(canvas: Canvas, area: Rect, rows: Sequence[tuple[str, str, str]], label: int | None = None) -> int:
    """Rows of (label, value, style), as many as fit; returns the row behind them."""
    width = min(max((len(name) for name, _, _ in rows), default=0) + 2, area.width // 2) if label is None else label
    for place, (name, value, style) in enumerate(rows[: area.height]):
        canvas.put(area.x, area.y + place, name, "dim", width)
        canvas.put(area.x + width, area.y + place, value, style, area.width - width)
    return area.y + min(len(rows), area.height)


def wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` characters, broken at blanks where there are any."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        rest = paragraph
        while len(rest) > width > 0:
            cut = rest.rfind(" ", 0, width + 1)
            cut = cut if cut > width // 2 else width
            lines.append(rest[:cut])
            rest = rest[cut:].lstrip(" ")
        lines.append(rest)
    return lines


def message(canvas: Canvas, area: Rect, lines: Sequence[str]) -> None:
    """A few sentences in the middle of an area: why there is nothing to see."""
    text = [part for line in lines for part in wrapped(line, max(10, area.width - 4))]
    top = area.y + max(0, (area.height - len(text)) // 2)
    for row, line in enumerate(text[: area.height]):
        canvas.put(area.x + max(0, (area.width - len(line)) // 2), top + row, line, "dim")


def sparkline(values: Sequence[float], width: int, low: float | None = None, high: float | None = None) -> str:
    """The last `width` values as one row of blocks, the highest below the edge so that rows stay apart."""
    shown = list(values)[-width:]
    finite = [value for value in shown if math.isfinite(value)]
    if not finite:
        return ""
    bottom = min(finite) if low is None else low
    top = max(finite) if high is None else high
    scale = (top - bottom) or 1.0
    return "".join(
        EIGHTHS[max(1, min(7, 1 + round((value - bottom) / scale * 6)))] if math.isfinite(value) else " "
        for value in shown
    ).rjust(width)


def column_means(run: Snapshot, name: str, columns: int, low: float | None = None) -> list[float]:
    """A metric over the whole run, or from step `low`, averaged into `columns` parts of equally many rows."""
    metric = run.metrics.get(name)
    if metric is None:
        return []
    with run.store.lock:
        stop = run.rows(metric)
        start = 0 if low is None else metric.rows(low, math.inf)[0]
        count = stop - start
        parts = min(columns, count)
        edges = [start + part * count // max(1, parts) for part in range(parts + 1)]
        return [metric.table.extent(metric.column, first, last).mean for first, last in pairwise(edges)]
