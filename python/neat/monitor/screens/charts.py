"""Charts: every metric of the run as small multiples, or one of them alone."""

from __future__ import annotations

import re

from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import number
from neat.monitor.plot import draw, fit
from neat.monitor.screens.base import Context, Screen, message
from neat.monitor.screens.overview import overlaid
from neat.monitor.series import x_range
from neat.monitor.theme import LETTERS, SERIES

CELL_WIDTH, CELL_HEIGHT = 36, 8
"""Least room of one chart."""
FIRST = (
    "train/bpb", "train/loss", "eval/bpb", "optim/grad_norm", "optim/lr", "perf/bytes_per_s", "perf/step_s", "perf/mfu",
)  # fmt: skip


class Charts(Screen):
    """A page of charts; `chosen` is the one that opens."""

    name = "charts"

    def __init__(self) -> None:
        super().__init__()
        self.chosen = 0
        self.opened = False
        self._columns = 1

    def draw(self, canvas: Canvas, context: Context) -> None:
        """The charts that match the filter, from the chosen one's page on."""
        names = self.names(context)
        status = Rect(0, 0, canvas.width, 1)
        body = Rect(0, 1, canvas.width, canvas.height - 1)
        self.chosen = max(0, min(self.chosen, len(names) - 1))
        self._status(canvas, status, context, len(names))
        if not names:
            text = f"no metric matches {self.filter}" if self.filter else "no metric has been reported yet"
            message(canvas, body, [text])
        elif self.opened:
            self._chart(canvas, body, context, names[self.chosen], chosen=True)
        else:
            self._page(canvas, body, context, names)

    def names(self, context: Context) -> list[str]:
        """The metrics that match the filter; parts of lists and bare keys only where one was given."""
        found = {name for run in context.snapshots for name in run.metrics}
        try:
            pattern = re.compile(self.filter)
        except re.error:
            pattern = re.compile(re.escape(self.filter))
        kept = [name for name in found if pattern.search(name) and (self.filter or ("/" in name and "[" not in name))]
        return sorted(kept, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))

    def scroll(self, lines: int) -> None:
        """Moves by rows of charts."""
        self.chosen = max(0, self.chosen + lines * self._columns)

    def move(self, places: int) -> None:
        """Moves to the next chart."""
        self.chosen = max(0, self.chosen + places)

    def open(self) -> None:
        """One chart alone, or all again."""
        self.opened = not self.opened

    def click(self, action: str) -> None:
        """Chooses a chart; a click on the chosen one opens it."""
        place = int(action)
        if place == self.chosen:
            self.open()
        self.chosen = place

    def _page(self, canvas: Canvas, body: Rect, context: Context, names: list[str]) -> None:
        columns = max(1, min(body.width // CELL_WIDTH, len(names)))
        rows = max(1, min(body.height // CELL_HEIGHT, -(-len(names) // columns)))
        self._columns = columns
        first = self.chosen // (columns * rows) * (columns * rows)
        cells = [cell for row in body.rows(*[1 / rows] * rows) for cell in row.columns(*[1] * columns)]
        for place, cell in enumerate(cells, first):
            if place < len(names):
                self._chart(canvas, cell, context, names[place], chosen=place == self.chosen)
                canvas.hit(cell, str(place))

    def _status(self, canvas: Canvas, area: Rect, context: Context, count: int) -> None:
        looks = context.looks
        place = f"{self.chosen + 1} of {count}" if count else "none"
        parts = [(f" {place}", "title bold")]
        if self.filter:
            parts += [("  filter ", "dim"), (self.filter, "info bold")]
        parts += [("  x: ", "dim"), ("time" if looks.view.by_time else "steps", "")]
        parts += [("  y: ", "dim"), ("log" if looks.log else "linear", "")]
        parts += [("  smoothing: ", "dim"), (f"{looks.smoothing_share * 100:g} %" if looks.smoothing else "none", "")]
        if looks.view.low is not None or looks.view.high is not None:
            parts += [("  zoomed, 0 shows all", "warn")]
        if len(context.snapshots) > 1:
            for place_of_run, run in enumerate(context.snapshots):
                letter, style = LETTERS[place_of_run % len(LETTERS)], SERIES[place_of_run % len(SERIES)]
                parts += [
                    (f"  {letter} {run.name}", style if looks.overlay or place_of_run == context.front else "faint")
                ]
        canvas.spans(area.x, area.y, parts, area.width)

    def _chart(self, canvas: Canvas, area: Rect, context: Context, name: str, *, chosen: bool) -> None:
        run, looks = context.run, context.looks
        inside = canvas.frame(area, name, number(run.last(name)), "info" if chosen else "frame")
        runs = context.snapshots if looks.overlay else [run]
        low, high = x_range(runs, looks.view)
        lines = overlaid(context, name, low, high, max(2, (inside.width - 8) * 2))
        axes = fit(lines, [], low, high, log=looks.log)
        if axes is None:
            message(canvas, inside, ["no value in this range" + (" above 0" if looks.log else "")])
            return
        cursor = None if run.cursor is None or looks.view.by_time else float(run.cursor)
        draw(canvas, inside, axes, lines, cursor=cursor, seconds=looks.view.by_time)
