"""Bounded collections for a reader that does not know how long a run is: rows, spans of states, amounts by time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from neat.report.series import is_number

Row = dict[str, object]
"""Some keys of an event, and its `step`."""

MAX_WORDS = 600
"""Characters of a string in a table."""


class Kept:
    """The first and the last of many rows; `count` of them were added.

    Args:
        limit: How many rows are kept in all.
    """

    def __init__(self, limit: int = 120) -> None:
        self._half = limit // 2
        self._first: list[Row] = []
        self._last: list[Row] = []
        self.count = 0

    def add(self, row: Row) -> None:
        """Takes a row."""
        self.count += 1
        if len(self._first) < self._half:
            self._first.append(row)
            return
        self._last.append(row)
        if len(self._last) > 2 * self._half:
            del self._last[: self._half]

    def __iter__(self) -> Iterator[Row]:
        yield from self._first
        yield from self._last[-self._half :]

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def left_out(self) -> int:
        """How many rows are gone."""
        return self.count - len(self._first) - min(len(self._last), self._half)


def clipped(data: Mapping[str, object], words: int) -> Row:
    """The data of an event with bounded size: strings are cut to `words` characters, lists and tables to 64 items."""
    return {str(key)[:80]: _clipped(item, words) for key, item in islice(data.items(), _MAX_ITEMS)}


def _clipped(value: object, words: int) -> object:
    match value:
        case str():
            return value if len(value) <= words else value[:words] + "…"
        case list():
            return [_clipped(item, words) for item in value[:_MAX_ITEMS]]
        case dict():
            return clipped(value, words)
    return value


_MAX_ITEMS = 64


class Lanes:
    """When a run was in which state, with steps as places.

    Spans of one state whose gap is less than the resolution count as one; the resolution becomes coarser when there
    are too many. `visits` and `steps` are exact.
    """

    def __init__(self, most: int = 1024) -> None:
        self._most = most
        self._resolution = 0.0
        self._spans: dict[str, list[tuple[float, float]]] = {}
        self._state: str | None = None
        self._since = 0.0
        self.end = 0.0
        self.visits: dict[str, int] = {}
        self.steps: dict[str, float] = {}

    def enter(self, state: str, step: float) -> None:
        """The state from `step` on."""
        self.reach(step)
        if state == self._state or (state not in self.visits and len(self.visits) >= _MAX_STATES):
            return
        self._close()
        self._state, self._since = state, step
        self.visits[state] = self.visits.get(state, 0) + 1

    def reach(self, step: float) -> None:
        """The run came to `step`."""
        if self._state is not None and step > self.end:
            self.steps[self._state] = self.steps.get(self._state, 0.0) + step - max(self.end, self._since)
        self.end = max(self.end, step)

    def spans(self, state: str) -> list[tuple[float, float]]:
        """From where to where the state lasted."""
        current = [(self._since, self.end)] if state == self._state else []
        return [*self._spans.get(state, ()), *current]

    def __bool__(self) -> bool:
        return bool(self.visits)

    def _close(self) -> None:
        if self._state is None:
            return
        spans = self._spans.setdefault(self._state, [])
        spans.append((self._since, self.end))
        if len(spans) > self._most:
            self._resolution = max(2 * self._resolution, self.end / self._most)
            for state, found in self._spans.items():
                self._spans[state] = joined(found, self._resolution)


def joined(spans: Sequence[tuple[float, float]], gap: float) -> list[tuple[float, float]]:
    """Spans in their order, those at most `gap` apart as one."""
    result: list[tuple[float, float]] = []
    for start, end in spans:
        if result and start - result[-1][1] <= gap:
            result[-1] = (result[-1][0], end)
        else:
            result.append((start, end))
    return result


_MAX_STATES = 16


class Amounts:
    """Named amounts over steps: the mean of each in each of at most `columns` columns of time, and their totals."""

    def __init__(self, columns: int = 60) -> None:
        self._columns = columns
        self._width = 0.0
        self._sums: list[tuple[float, dict[str, tuple[float, int]]]] = []
        self.totals: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def add(self, step: float, amounts: object) -> None:
        """Takes the numbers of a table; anything else is ignored."""
        found = _numbers(amounts)
        if not found:
            return
        for name in found.keys() - self.totals.keys():
            if len(self.totals) >= _MAX_NAMES:
                del found[name]
        for name, value in found.items():
            self.totals[name] = self.totals.get(name, 0.0) + value
        self.last = found
        self._sums.append((step, {name: (value, 1) for name, value in found.items()}))
        if len(self._sums) > 2 * self._columns:
            self._width = (step - self._sums[0][0]) / self._columns or 1.0
        if self._width:
            self._merge()

    def _merge(self) -> None:
        merged: list[tuple[float, dict[str, tuple[float, int]]]] = []
        before = -math.inf
        for step, sums in self._sums:
            key = step // self._width
            if key > before:
                merged.append((step, sums))
                before = key
                continue
            into = merged[-1][1]
            for name, (total, count) in sums.items():
                old, times = into.get(name, (0.0, 0))
                into[name] = (old + total, times + count)
        self._sums = merged

    def __bool__(self) -> bool:
        return bool(self._sums)

    @property
    def places(self) -> list[float]:
        """The first step of each column."""
        return [step for step, _ in self._sums]

    def row(self, name: str) -> list[float | None]:
        """The means of one amount by column; None where it was not measured."""
        cells = (sums.get(name) for _, sums in self._sums)
        return [cell[0] / cell[1] if cell else None for cell in cells]


_MAX_NAMES = 160


def _numbers(amounts: object) -> dict[str, float]:
    if not isinstance(amounts, Mapping):
        return {}
    return {str(name)[:80]: float(value) for name, value in amounts.items() if is_number(value)}


def listed(value: object, names: object = None) -> dict[str, float | None]:
    """Numbers by name, from a table, or from a list beside the list of its names."""
    if isinstance(value, Mapping):
        return {str(name)[:80]: float(item) if is_number(item) else None for name, item in value.items()}
    if not isinstance(value, list):
        return {}
    known = names if isinstance(names, list) and len(names) == len(value) else range(1, len(value) + 1)
    return {str(name)[:80]: float(item) if is_number(item) else None for name, item in zip(known, value, strict=True)}
