"""Every number of a run, kept: one table per type of event, a row per event, a float32 column per metric.

A row costs 16 bytes for its step and time and 4 bytes for each metric of its type. Tables of the course of training
are ordered by step: what a resume superseded is cut off.
"""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from neat.monitor.pyramid import EMPTY, Extent, Pyramid

MAX_COLUMNS = 4096
"""Metrics kept per type of event; a file of garbage cannot ask for more."""
MAX_PARTS = 64
"""Numbers of a list or table in an event that become metrics of their own."""

_NAN = math.nan


class Table:
    """The events of one type. `refused` counts the metrics that were too many."""

    def __init__(self, *, ordered: bool) -> None:
        self.steps: array[int] = array("q")
        self.times: array[float] = array("d")
        self.columns: dict[str, array[float]] = {}
        self.refused = 0
        self._ordered = ordered
        self._pyramids: dict[str, Pyramid] = {}

    def __len__(self) -> int:
        return len(self.steps)

    def extend(self, steps: Sequence[int], times: Sequence[float], rows: Sequence[Mapping[str, object]]) -> None:
        """Appends rows of the same keys."""
        if self._ordered and self.steps and steps[0] < self.steps[-1]:
            # An order that only a lost `resume` explains; the later course counts.
            self.cut(steps[0] - 1)
        before = len(self.steps)
        self.steps.extend(steps)
        self.times.extend(times)
        for key in rows[0]:
            values = [row[key] for row in rows]
            try:
                self._append(key, array("f", values), before)  # type: ignore[arg-type]
            except (TypeError, OverflowError):
                self._append_mixed(key, values, before)
        self._level()

    def cut(self, step: int) -> None:
        """Drops the rows behind `step`."""
        length = bisect_right(self.steps, step)
        if length == len(self.steps):
            return
        del self.steps[length:]
        del self.times[length:]
        for name, column in self.columns.items():
            del column[length:]
            if name in self._pyramids:
                self._pyramids[name].cut(length)

    def extent(self, name: str, start: int, stop: int) -> Extent:
        """Extent of the rows [start, stop) of a metric."""
        column = self.columns.get(name)
        if column is None:
            return EMPTY
        if name not in self._pyramids:
            self._pyramids[name] = Pyramid(column)
        return self._pyramids[name].extent(start, stop)

    def rows_until(self, step: int | None) -> int:
        """Number of rows up to and with a step (None: all)."""
        return len(self.steps) if step is None else bisect_right(self.steps, step)

    def last(self, name: str, stop: int | None = None) -> float | None:
        """The newest finite value among the first `stop` rows, looking back over at most 4096."""
        column = self.columns.get(name)
        if column is None:
            return None
        stop = len(column) if stop is None else min(stop, len(column))
        for row in range(stop - 1, max(-1, stop - 4097), -1):
            if math.isfinite(column[row]):
                return column[row]
        return None

    def row(self, index: int) -> dict[str, float]:
        """The finite values of one row."""
        return {name: column[index] for name, column in self.columns.items() if math.isfinite(column[index])}

    def _append(self, name: str, values: Iterable[float], before: int) -> None:
        column = self.columns.get(name)
        if column is None:
            if len(self.columns) >= MAX_COLUMNS:
                self.refused += 1
                return
            column = self.columns[name] = array("f", [_NAN]) * before
        elif len(column) < before:
            column.extend(array("f", [_NAN]) * (before - len(column)))
        column.extend(values)

    def _append_mixed(self, key: str, values: Sequence[object], before: int) -> None:
        """Values of which some are no numbers: parts of lists and tables become metrics `key[part]`."""
        parts: dict[str, list[float]] = {}
        for row, value in enumerate(values):
            for name, number in _numbers(key, value):
                parts.setdefault(name, [_NAN] * len(values))[row] = number
        for name, numbers in parts.items():
            self._append(name, array("f", numbers), before)

    def _level(self) -> None:
        """Every column as long as the table: a metric that an event lacks is NaN."""
        length = len(self.steps)
        for column in self.columns.values():
            if len(column) < length:
                column.extend(array("f", [_NAN]) * (length - len(column)))


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a store: its table and its column there."""

    table: Table
    column: str

    def rows(self, low: float, high: float, *, by_time: bool = False) -> tuple[int, int]:
        """Rows whose step (or time) lies in [low, high]."""
        axis: Sequence[float] = self.table.times if by_time else self.table.steps
        return bisect_left(axis, low), bisect_right(axis, high)


class Store:
    """The tables of a run by type of event. Hold `lock` while reading what a thread may be writing."""

    def __init__(self, course: frozenset[str]) -> None:
        self.lock = threading.RLock()
        self.tables: dict[str, Table] = {}
        self._course = course

    def table(self, kind: str) -> Table:
        """The table of a type, made on first use."""
        found = self.tables.get(kind)
        if found is None:
            found = self.tables[kind] = Table(ordered=kind in self._course)
        return found

    def cut(self, step: int) -> None:
        """A resume from `step`: the course of training behind it no longer counts."""
        for kind, table in self.tables.items():
            if kind in self._course:
                table.cut(step)

    def metrics(self) -> dict[str, Metric]:
        """Every metric by name; one that two types share has its type before it, as in `eval: svf/entropy`."""
        found: dict[str, Metric] = {}
        for kind in sorted(self.tables, key=lambda kind: (kind != "step", kind)):
            table = self.tables[kind]
            for name in table.columns:
                found[name if name not in found else f"{kind}: {name}"] = Metric(table, name)
        return found


def _numbers(key: str, value: object) -> Iterator[tuple[str, float]]:
    match value:
        case bool() | int() | float():
            yield key, _finite(value)
        case dict():
            parts = [(str(name), part) for name, part in value.items()]
            yield from _parts(key, parts)
        case list():
            yield from _parts(key, [(str(place), part) for place, part in enumerate(value)])


def _parts(key: str, parts: Sequence[tuple[str, object]]) -> Iterator[tuple[str, float]]:
    for name, part in parts[:MAX_PARTS]:
        if isinstance(part, int | float):
            yield f"{key}[{name}]", _finite(part)


def _finite(value: float) -> float:
    try:
        return array("f", [value])[0]
    except OverflowError:
        return _NAN
