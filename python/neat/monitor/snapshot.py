"""What the screens draw from: one run at one moment. Nothing in it changes; the store behind it only grows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from neat.events.schema import SUPERSEDED_BY_RESUME, Event
from neat.monitor.alerts import Alert
from neat.monitor.course import Course
from neat.monitor.health import Health
from neat.monitor.store import Metric, Store


@dataclass(frozen=True)
class Snapshot:
    """A run as it is now, or as it was at step `cursor`.

    Attributes:
        name: What the run is called.
        place: Its directory, or `user@host:path`.
        now: Unix seconds at which it was taken.
        course: What was read; hold `store.lock` while looking into it.
        version: State of the course at that moment.
        loaded: Share of the events file that was read, 1 when nothing is left.
        events: The newest events of each type.
        derived: Alerts found by the monitor.
        counts: Lines by type.
        bad_lines: Lines that were no events.
        unknown: Events of types that this version does not know.
        record: `run.json`.
        settings: `config.toml`.
        health: Whether the run is alive.
        writable: Whether requests can be made of it.
        trouble: Why the run cannot be read at the moment, empty when it can.
        cursor: Step of a replay, None at the end.
    """

    name: str
    place: str
    now: float
    course: Course
    version: int
    loaded: float
    events: Mapping[str, tuple[Event, ...]]
    derived: tuple[Alert, ...]
    counts: Mapping[str, int]
    bad_lines: int
    unknown: int
    record: Mapping[str, object]
    settings: Mapping[str, object]
    health: Health
    writable: bool
    trouble: str = ""
    cursor: int | None = None

    @property
    def store(self) -> Store:
        """The numbers of the run."""
        return self.course.store

    @property
    def step(self) -> int:
        """Finished steps."""
        if self.cursor is not None:
            return self.cursor
        return max((self.events[kind][-1].step for kind in ("step", "checkpoint") if self.events.get(kind)), default=0)

    @property
    def total(self) -> int | None:
        """Length of the run in steps, as far as known."""
        value = self.last("train/total_steps")
        return None if value is None else int(value)

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """Every metric by name."""
        with self.store.lock:
            return self.store.metrics()

    def last(self, name: str) -> float | None:
        """The newest value of a metric, None when there is none."""
        metric = self.metrics.get(name)
        if metric is None:
            return None
        newest = self.latest("step")
        exact = newest.data.get(name) if newest is not None and self.cursor is None else None
        if isinstance(exact, int | float):
            return float(exact)
        with self.store.lock:
            return metric.table.last(metric.column, self.rows(metric))

    def rows(self, metric: Metric) -> int:
        """How many rows of the table of a metric belong to this snapshot."""
        return metric.table.rows_until(self.cursor)

    def text(self, kind: str, key: str, default: str = "") -> str:
        """A value of the newest event of a type, as text."""
        event = self.latest(kind)
        value = None if event is None else event.data.get(key)
        return default if value is None else str(value)

    def latest(self, kind: str) -> Event | None:
        """The newest event of a type, None when there is none."""
        kept = self.events.get(kind)
        return kept[-1] if kept else None

    @cached_property
    def alerts(self) -> tuple[Alert, ...]:
        """Alerts of the trainer and of the monitor, oldest first."""
        told = [
            Alert(
                "event", str(event.data.get("severity", "")), event.step, event.time, str(event.data.get("message", ""))
            )
            for event in self.events.get("alert", ())
        ]
        return tuple(sorted([*told, *self.derived], key=lambda alert: alert.time))

    def at(self, step: int | None) -> Snapshot:
        """The run as it was when `step` was its last one (None: as it is)."""
        if step is None:
            return self
        time = self._time_of(step)
        events = {
            kind: tuple(
                event for event in kept if (event.step <= step if kind in SUPERSEDED_BY_RESUME else event.time <= time)
            )
            for kind, kept in self.events.items()
        }
        derived = tuple(alert for alert in self.derived if alert.step <= step)
        return replace(self, events=events, derived=derived, cursor=step)

    def _time_of(self, step: int) -> float:
        """When the run reached the next reported step behind `step`, or its end."""
        with self.store.lock:
            table = self.store.table("step")
            row = bisect_right(table.steps, step)
            return table.times[row - 1] if row else self.course.first_time
