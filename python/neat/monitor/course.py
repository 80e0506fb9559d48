"""What is known of a run after the events read so far. Fed by the reading thread; asked for immutable snapshots."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from itertools import groupby

from neat.events.schema import SUPERSEDED_BY_RESUME, TYPES, Event
from neat.monitor.alerts import Alert, Watch
from neat.monitor.lines import decode_lines
from neat.monitor.store import Store

KEPT = {"dynamics": 256, "components": 64, "sample": 64, "system": 4, "heartbeat": 1, "step": 2}
"""Whole events kept per type; their numbers are all kept in the store."""
KEPT_OF_OTHERS = 2000

_KNOWN = frozenset(TYPES)
_CODES = {name: code for code, name in enumerate(TYPES)}
_UNKNOWN, _BAD = 254, 255
_LARGEST = 2**63 - 1


class LogIndex:
    """Where each line of the file lies and what it is: 9 bytes a line, so that the log is read from the file itself."""

    def __init__(self) -> None:
        self.offsets: array[int] = array("q")
        self.codes = bytearray()
        self._matching: dict[frozenset[int], tuple[array[int], int]] = {}

    def add(self, offset: int, code: int) -> None:
        """Notes the next line."""
        self.offsets.append(offset)
        self.codes.append(code)

    def matching(self, types: frozenset[str]) -> array[int]:
        """Offsets of the lines of these types, in the order of the file; of all lines that are events when empty."""
        codes = frozenset(_CODES[name] for name in types) or frozenset(range(_UNKNOWN + 1))
        found, seen = self._matching.get(codes, (array("q"), 0))
        offsets, all_codes = self.offsets, self.codes
        found.extend(offsets[line] for line in range(seen, len(all_codes)) if all_codes[line] in codes)
        self._matching = {codes: (found, len(all_codes))}
        return found


class Course:
    """Everything read of one run.

    `version` grows with each change. `events` keeps the newest of each type, `counts` counts lines by type, `bad_lines`
    those that were no events and `unknown` those of types that this version does not know.
    """

    def __init__(self) -> None:
        self.store = Store(SUPERSEDED_BY_RESUME)
        self.log = LogIndex()
        self.version = 0
        self.bad_lines = 0
        self.unknown = 0
        self.counts: dict[str, int] = {}
        self.events: dict[str, deque[Event]] = {}
        self.derived: deque[Alert] = deque(maxlen=KEPT_OF_OTHERS)
        self.first_time = 0.0
        self.newest: Event | None = None
        self._watch = Watch()
        self._frozen: dict[str, tuple[Event, ...]] = {}

    def read(self, lines: Sequence[tuple[int, bytes]]) -> None:
        """Takes in lines with their places in the file."""
        if not lines:
            return
        events = decode_lines([line for _, line in lines])
        with self.store.lock:
            self.version += 1
            known: list[Event] = []
            for (offset, _), event in zip(lines, events, strict=True):
                if event is None or not 0 <= event.step <= _LARGEST:
                    self.bad_lines += 1
                    self.log.add(offset, _BAD)
                    continue
                self.log.add(offset, _CODES.get(event.type, _UNKNOWN))
                if event.type in _KNOWN:
                    known.append(event)
                else:
                    self.unknown += 1
            for part in _between_resumes(known):
                self._take_all(part)
            if known:
                self.newest = known[-1]
                self.first_time = self.first_time or known[0].time

    def frozen(self) -> dict[str, tuple[Event, ...]]:
        """The kept events by type, as tuples that never change."""
        for kind, kept in self.events.items():
            if kind not in self._frozen:
                self._frozen[kind] = tuple(kept)
        return dict(self._frozen)

    def _take_all(self, events: list[Event]) -> None:
        """Events without a resume, or one resume: by type, and within one by their keys, many at a time."""
        by_type: dict[str, list[Event]] = {}
        for event in events:
            by_type.setdefault(event.type, []).append(event)
        for same in by_type.values():
            for _, group in groupby(same, key=lambda event: tuple(event.data)):
                self._take(list(group))

    def _take(self, events: list[Event]) -> None:
        """Events of one type with the same keys."""
        kind = events[0].type
        self.counts[kind] = self.counts.get(kind, 0) + len(events)
        if kind == "resume":
            for event in events:
                self._resume(event)
        if kind == "step":
            self.derived.extend(self._watch.steps(events))
        elif kind == "system":
            self.derived.extend(self._watch.system(events))
        if kind not in self.events:
            self.events[kind] = deque(maxlen=KEPT.get(kind, KEPT_OF_OTHERS))
        if kind != "heartbeat":
            for run in _rising(events):
                rows = [event.data for event in run]
                table = self.store.table(kind)
                table.extend([event.step for event in run], [event.time for event in run], rows)
        self._drop_later(kind, events[0].step)
        self.events[kind].extend(events)
        self._frozen.pop(kind, None)

    def _drop_later(self, kind: str, step: int) -> None:
        """Keeps the kept events of the course in order, as the store does."""
        kept = self.events[kind]
        while kind in SUPERSEDED_BY_RESUME and kept and kept[-1].step > step:
            kept.pop()

    def _resume(self, event: Event) -> None:
        self.store.cut(event.step)
        self._watch = Watch()
        for kind in SUPERSEDED_BY_RESUME & self.events.keys():
            self._drop_later(kind, event.step)
            self._frozen.pop(kind, None)
        kept = [alert for alert in self.derived if alert.step <= event.step]
        self.derived = deque(kept, maxlen=KEPT_OF_OTHERS)


def _between_resumes(events: list[Event]) -> list[list[Event]]:
    """Cuts events so that each resume stands alone: order matters only across it."""
    parts: list[list[Event]] = [[]]
    for event in events:
        if event.type == "resume":
            parts += [[event], []]
        else:
            parts[-1].append(event)
    return [part for part in parts if part]


def _rising(events: list[Event]) -> list[list[Event]]:
    """Cuts events where their step falls, which nothing but a lost line explains."""
    runs: list[list[Event]] = []
    for event in events:
        if runs and event.step >= runs[-1][-1].step:
            runs[-1].append(event)
        else:
            runs.append([event])
    return runs
