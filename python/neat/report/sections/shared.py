"""What the sections share: curves of several runs, cells of tables, the names of runs above their parts."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence

from neat.report.document import NOT_MEASURED, Block, Figure, Heading, Table
from neat.report.gather import Kept, Row
from neat.report.plot import Line, LinePlot, Style
from neat.report.record import Record
from neat.report.scale import number
from neat.report.series import Series, is_number, is_rough, smoothed

MOST_ROWS = 24
"""Rows of events that a table shows: the first and the last ones."""


def measured(value: float | None, form: Callable[[float], str] = number) -> str:
    """A number as text, or that there is none."""
    return NOT_MEASURED if value is None else form(value)


def cell(value: object) -> str:
    """A value of an event as text."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return number(value)
        case list():
            return ", ".join(cell(item) for item in value)
        case dict():
            return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    return str(value)


def rows_table(kept: Kept, columns: Sequence[tuple[str, str]], caption: str = "") -> Table:
    """Rows of events: `columns` are names with the keys of the events; columns that no row has are left out."""
    rows = list(kept)
    used = [(name, key) for name, key in columns if any(row.get(key) is not None for row in rows)]
    numeric = frozenset(
        index for index, (_, key) in enumerate(used) if any(is_number(row.get(key)) for row in rows) and key != "time"
    )
    cells = [[_row_cell(row, key) for _, key in used] for row in rows]
    hidden = max(0, len(cells) - MOST_ROWS)
    if hidden:
        cells[MOST_ROWS // 2 : len(cells) - MOST_ROWS // 2] = [["…"] * len(used)]
    return Table([name for name, _ in used], cells, numeric, caption, kept.left_out + hidden)


def _row_cell(row: Row, key: str) -> str:
    value = row.get(key)
    return moment(value) if key == "time" and is_number(value) else cell(value)


def moment(seconds: float) -> str:
    """A time as a date and a time of day, UTC."""
    try:
        when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, OSError, ValueError):
        return "no date"
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


def per_run(runs: Sequence[Record], blocks: Callable[[Record, str], Iterable[Block]]) -> Iterator[Block]:
    """Blocks of each run, below its name where there are several; the second argument makes names of plots unique."""
    for index, run in enumerate(runs, 1):
        if len(runs) > 1:
            yield Heading(run.label)
        yield from blocks(run, f"run{index}-" if len(runs) > 1 else "")


def curves(
    runs: Sequence[Record], kind: str, key: str, name: str = "", colour: int = 0, *, style: Style = "line"
) -> list[Line]:
    """The curves of one metric: of a single run with a colour, of several with the colour of the run."""
    found = []
    for index, run in enumerate(runs):
        series = run.metric(kind, key)
        if series:
            several = len(runs) > 1
            label = " · ".join(part for part in (run.label, name) if part) if several else name
            found += curve(series, label, index % 8 if several else colour, style=style)
    return found


def curve(series: Series, name: str, colour: int, *, style: Style = "line") -> list[Line]:
    """A curve; a rough one as its faint outline with its smoothed course before it."""
    points = series.points()
    if style != "line" or not is_rough(points):
        return [Line(name, points, colour, style)]
    return [Line("", points, colour, "faint"), Line(name, smoothed(series.trend()), colour)]


def figure(
    runs: Sequence[Record],
    kind: str,
    keys: Sequence[tuple[str, str]],
    name: str,
    title: str,
    unit: str,
    *,
    log: bool = False,
    zero: bool = False,
    x_label: str = "step",
    caption: str = "",
) -> Iterator[Figure]:
    """A figure of metrics with their names; nothing where none was measured.

    Several metrics of several runs are a figure for each metric.
    """
    if len(runs) > 1 and len(keys) > 1:
        for index, (key, label) in enumerate(keys):
            one = f"{name}-{index + 1}"
            yield from figure(
                runs, kind, [(key, "")], one, f"{title}: {label}", unit, log=log, zero=zero, x_label=x_label
            )
        return
    lines = [line for colour, (key, label) in enumerate(keys) for line in curves(runs, kind, key, label, colour % 8)]
    if lines:
        plot = LinePlot(name, title, lines, unit, x_label=x_label, log=log, zero=zero)
        yield Figure(plot, caption=caption)
