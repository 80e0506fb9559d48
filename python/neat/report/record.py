"""What a report knows of one run: everything in its events, kept in bounded memory, and the facts beside them.

No number is made up here: a key that no event has is missing from the record.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from neat.config.compare import Difference, difference
from neat.config.load import PRESETS, load
from neat.config.schema import Config
from neat.errors import ConfigError
from neat.events.lock import is_held
from neat.events.rundir import RunPaths, read_config, read_record
from neat.events.schema import TYPES, Event
from neat.report.gather import MAX_WORDS, Amounts, Kept, Lanes, Row, clipped, listed
from neat.report.plot import Sign
from neat.report.series import Series, is_number
from neat.report.source import Course, open_paths

MAX_SERIES = 320
"""Metrics of one run that are kept; further names are counted."""

SILENCE_S = 60.0
"""A gap between events longer than this, six heartbeats, is time in which no process ran."""

ROWS = (
    "run", "growth", "resume", "budget", "stage", "phase", "jump", "correct", "rollback", "probe", "activation",
    "sample", "checkpoint", "request", "upload", "alert", "end",
)  # fmt: skip
"""Types whose events are kept as rows, the first and the last of them."""

TABLES = ("grad_norm/layer", "grad_norm/component", "time/share", "patch/lengths")
"""Keys of `components` events that hold amounts by name."""


SIGNS: tuple[Sign, ...] = ("accepted", "refused", "rollback")
"""What is marked on the timeline: jumps and rollbacks."""


@dataclass(slots=True)
class Record:
    """One run. Everything but the facts of the directory is filled by `take`, event by event.

    `label` names it among others. `series` are metrics by (type of event, key), over steps; those of `system` are over
    hours in which the run was alive. `rows` are events by type, `amounts` tables of `components` by key, `counts`
    numbers of events by type; `unknown` counts those whose type or step this program knows nothing of. `marks` are
    places of jumps and rollbacks, thinned out.
    """

    paths: RunPaths
    label: str
    facts: dict[str, object]
    config: Config | None
    config_problem: str | None
    preset: str | None
    changes: list[Difference]
    held: bool
    holder: dict[str, object]
    made: float = field(default_factory=time.time)
    series: dict[tuple[str, str], Series] = field(default_factory=dict)
    rows: dict[str, Kept] = field(default_factory=lambda: {name: Kept() for name in ROWS})
    amounts: dict[str, Amounts] = field(default_factory=lambda: {name: Amounts() for name in TABLES})
    lanes: Lanes = field(default_factory=Lanes)
    refusals: Counter[str] = field(default_factory=Counter)
    jumps: Counter[bool] = field(default_factory=Counter)
    marks: dict[Sign, Series] = field(default_factory=lambda: {sign: Series(_MARKS) for sign in SIGNS})
    forecasts: dict[int, list[Series]] = field(default_factory=dict)
    dynamics: Row = field(default_factory=dict)
    parameters: dict[str, float | None] = field(default_factory=dict)
    names: dict[str, object] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    left_out: int = 0
    read: int = 0
    superseded: int = 0
    bad_lines: int = 0
    alive_s: float = 0.0
    first: Event | None = None
    last: Event | None = None
    step: int = 0

    def take(self, event: Event) -> None:
        """Takes the next event of the course of the run."""
        if event.type not in TYPES or abs(event.step) > _MOST_STEPS:
            self.unknown += 1
            return
        self._pass_time(event)
        self.counts[event.type] += 1
        if event.type in ROWS:
            data = clipped(event.data, _SAMPLE_WORDS if event.type == "sample" else MAX_WORDS)
            self.rows[event.type].add({"step": event.step, "time": event.time, **data})
        if event.type in _MEASURED:
            self._numbers(event, event.step)
        match event.type:
            case "step":
                self._state(event)
            case "components":
                self._components(event)
            case "system":
                self._numbers(event, self.alive_s / 3600)
                self.names |= clipped({k: v for k, v in event.data.items() if k.endswith("/name")}, MAX_WORDS)
            case "phase":
                self._phase(event)
            case "jump" | "rollback":
                self._mark(event)
            case "dynamics":
                self._dynamics(event)

    def metric(self, kind: str, key: str) -> Series:
        """The series of a metric; empty when no event has it."""
        return self.series.get((kind, key), _EMPTY)

    def final(self, kind: str, key: str) -> float | None:
        """The last value of a metric, None when no event has it."""
        series = self.metric(kind, key)
        return series.last[1] if series else None

    def last_row(self, kind: str) -> Row:
        """The last event of a type, empty when there is none."""
        rows = list(self.rows[kind])
        return rows[-1] if rows else {}

    def _pass_time(self, event: Event) -> None:
        if self.last is not None and 0 <= event.mono - self.last.mono <= SILENCE_S:
            self.alive_s += event.mono - self.last.mono
        if self.first is None:
            self.first = Event(event.seq, event.time, event.mono, event.type, event.step)
        self.last = Event(event.seq, event.time, event.mono, event.type, event.step)
        self.step = max(self.step, event.step) if event.type != "resume" else event.step

    def _numbers(self, event: Event, place: float) -> None:
        kind, known = event.type, self.series
        for key, value in event.data.items():
            if is_number(value):
                series = known.get((kind, key))
                if series is None:
                    self._add(kind, key, place, value)
                else:
                    series.add(place, value)

    def _add(self, kind: str, key: str, place: float, value: float) -> None:
        series = self.series.get((kind, key))
        if series is None:
            if len(self.series) >= MAX_SERIES:
                self.left_out += 1
                return
            series = self.series[kind, key[:120]] = Series()
        series.add(place, value)

    def _state(self, event: Event) -> None:
        phase = event.data.get("train/phase")
        if isinstance(phase, str) and not self.counts["phase"]:
            # The steps since the last event were taken in it.
            self.lanes.enter(phase[:40], self.lanes.end)
        self.lanes.reach(event.step)

    def _mark(self, event: Event) -> None:
        sign: Sign = "rollback"
        if event.type == "jump":
            accepted = event.data.get("accepted") is True
            self.jumps[accepted] += 1
            sign = "accepted" if accepted else "refused"
        self.marks[sign].add(event.step, 0.0)

    def _components(self, event: Event) -> None:
        for name, amounts in self.amounts.items():
            amounts.add(event.step, event.data.get(name))
        counts = listed(event.data.get("parameters"))
        if counts:
            self.parameters = counts

    def _phase(self, event: Event) -> None:
        data = event.data
        if data.get("accepted") is False:
            reason = str(data.get("reason"))[:200]
            if reason in self.refusals or len(self.refusals) < _MAX_REASONS:
                self.refusals[reason] += 1
            return
        if not self.lanes and isinstance(data.get("from"), str):
            self.lanes.enter(str(data["from"])[:40], 0)
        self.lanes.enter(str(data.get("to"))[:40], event.step)

    def _dynamics(self, event: Event) -> None:
        self.dynamics = {"step": event.step, **clipped(event.data, MAX_WORDS)}
        horizons = event.data.get("horizons")
        for key in ("forecast/corrected", "forecast/mean", "forecast/sigma"):
            for name, value in listed(event.data.get(key), horizons).items():
                if value is not None and name.isdigit() and len(name) < _MAX_DIGITS:
                    self._forecast(int(name), event.step, key, value)
        for key in ("error/mae", "error/mae_fit", "error/mae_corrected", "coverage"):
            for name, value in listed(event.data.get(key), horizons).items():
                if value is not None:
                    self._add("dynamics", f"{key}/{name}", event.step, value)

    def _forecast(self, horizon: int, step: int, key: str, value: float) -> None:
        if horizon not in self.forecasts and len(self.forecasts) >= _MAX_HORIZONS:
            return
        parts = self.forecasts.setdefault(horizon, [Series(), Series(), Series()])
        parts[("forecast/mean", "forecast/corrected", "forecast/sigma").index(key)].add(step + horizon, value)


_EMPTY = Series()
_MARKS = 60
_MOST_STEPS = 2**53
_MEASURED = frozenset({"step", "eval", "components", "jump", "correct", "rollback", "dynamics"})
_SAMPLE_WORDS = 4000
_MAX_REASONS = 60
_MAX_HORIZONS = 12
_MAX_DIGITS = 10


def read_run(root: Path, label: str | None = None) -> Record:
    """Reads a run directory; raises `CheckpointError` where there is no run or no readable event."""
    paths = open_paths(root)
    facts = read_record(paths)
    config, problem = _config(paths)
    preset, changes = _changes(config, facts)
    record = Record(
        paths=paths,
        label=label or _name(facts, config, root),
        facts=facts,
        config=config,
        config_problem=problem,
        preset=preset,
        changes=changes,
        held=is_held(paths.lock),
        holder=_holder(paths.lock),
    )
    course = Course(paths.events)
    for event in course:
        record.take(event)
    record.read, record.superseded, record.bad_lines = course.read, course.superseded, course.bad_lines
    return record


def _name(facts: dict[str, object], config: Config | None, root: Path) -> str:
    if config is not None:
        return config.name
    return str(facts.get("name") or root.resolve().name)[:80]


def _config(paths: RunPaths) -> tuple[Config | None, str | None]:
    """The configuration, or why it cannot be read: a report does without."""
    try:
        return read_config(paths), None
    except ConfigError as error:
        return None, error.message


def _changes(config: Config | None, facts: dict[str, object]) -> tuple[str | None, list[Difference]]:
    """The preset that the command named (None: the defaults), and what differs from it."""
    if config is None:
        return None, []
    preset = _preset(facts.get("command"))
    return preset, difference(load(preset).config, config)


def _preset(command: object) -> str | None:
    words = [word for word in command if isinstance(word, str)] if isinstance(command, list) else []
    named = [after for word, after in pairwise(words) if word == "--config"]
    named += [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
    return next((name for name in named if name in PRESETS), None)


def _holder(path: Path) -> dict[str, object]:
    """What the lock file says of the last writer; empty when it cannot be read."""
    try:
        holder = json.loads(path.read_bytes()[:4096])
    except (OSError, ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}
