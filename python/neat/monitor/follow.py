"""Follows the events of one run directory, however long they are.

A short file is read whole. Of a long one the beginning, some lines in between and the end are read first: this
preview has the right current values and the shape of every curve. The whole history follows in pieces and takes its
place when it has caught up.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from neat.events.reader import LineReader
from neat.events.rundir import RunPaths, read_record
from neat.monitor.course import Course
from neat.monitor.health import Holder, judge, read_holder
from neat.monitor.remote import Mirror
from neat.monitor.snapshot import Snapshot

WHOLE_BYTES = 4 * 2**20
"""A file up to this long is read at once."""
HEAD_BYTES, TAIL_BYTES = 2**17, 2**19
"""Beginning and end of a long file that its preview holds."""
SAMPLES, SAMPLE_BYTES = 240, 2**14
"""Places in between, and how far from each a line is looked for."""
PIECE_BYTES = 2**19
"""Read between two looks at the end of the file."""
GLANCE_S = 2.0
"""Seconds between looks at `run.json`, `config.toml` and the lock."""


class Follower:
    """Reads one run. `step` does a bounded piece of work; `snapshot` tells what is known.

    Args:
        paths: The run directory, or a local copy that somebody keeps up to date.
        name: What the run is called; empty for the name in `run.json`.
        place: Where the run is, for people.
        mirror: Keeps the directory up to date as a copy of a run elsewhere; None for the run itself.
        clock: Unix seconds.
    """

    def __init__(
        self,
        paths: RunPaths,
        place: str = "",
        mirror: Mirror | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.paths, self._clock = paths, clock
        self._place = place or str(paths.root)
        self._mirror = mirror
        self._course = Course()
        self._reader = LineReader(paths.events)
        self._history: tuple[LineReader, Course] | None = None
        self._begun = False
        self._glanced = -GLANCE_S
        self._record: Mapping[str, object] = {}
        self._settings: Mapping[str, object] = {}
        self._config_stamp: tuple[int, int] | None = None
        self._holder = Holder(None)
        self.trouble = ""

    @property
    def busy(self) -> bool:
        """Whether the history is still being read."""
        return self._history is not None

    def step(self) -> bool:
        """Reads what is new, and a piece of the history; true when something changed."""
        version = (self._course, self._course.version)
        try:
            if not self._begun:
                self._begin()
            self._poll(self._reader, PIECE_BYTES)
            self._read_history()
            self.trouble = "" if self._mirror is None else self._mirror.trouble
        except OSError as error:
            self.trouble = f"cannot read {self.paths.events}: {error.strerror or error}"
        self._glance()
        return version != (self._course, self._course.version)

    def read_all(self) -> None:
        """Reads until nothing is left."""
        self.step()
        while self._history is not None or self.step():
            self.step()

    def snapshot(self) -> Snapshot:
        """What is known now."""
        course, now = self._course, self._clock()
        with course.store.lock:
            events = course.frozen()
            return Snapshot(
                name=str(self._record.get("name") or self.paths.root.name),
                place=self._place,
                now=now,
                course=course,
                version=course.version,
                loaded=self._loaded(),
                events=events,
                # Of a preview with gaps no rule can say anything.
                derived=() if self.busy else tuple(course.derived),
                counts=dict(course.counts),
                bad_lines=course.bad_lines + self._reader.overlong_lines,
                unknown=course.unknown,
                record=self._record,
                settings=self._settings,
                health=judge(events, course.newest, self._holder, now),
                writable=self._mirror is None,
                trouble=self.trouble,
            )

    def lines_at(self, offsets: list[int]) -> list[bytes]:
        """The lines of the events file that begin at these places; empty where there is none any more."""
        try:
            with self.paths.events.open("rb") as file:
                return [_line_at(file, offset) for offset in offsets]
        except OSError:
            return [b""] * len(offsets)

    def _begin(self) -> None:
        size = self.paths.events.stat().st_size if self.paths.events.exists() else 0
        self._begun = True
        if size > WHOLE_BYTES:
            self._preview(size)

    def _preview(self, size: int) -> None:
        """Head, samples and tail; from the tail on, everything is followed."""
        with self.paths.events.open("rb") as file:
            head = file.read(HEAD_BYTES)
            self._course.read(_whole_lines(head, 0))
            samples = []
            for place in range(1, SAMPLES):
                start = HEAD_BYTES + place * (size - HEAD_BYTES - TAIL_BYTES) // SAMPLES
                file.seek(start)
                lines = _whole_lines(file.read(SAMPLE_BYTES), start, torn_start=True)
                samples += [line for line in lines if b'"type":"step"' in line[1][:160]][:1]
            self._course.read(samples)
            file.seek(size - TAIL_BYTES)
            cut = file.read(TAIL_BYTES).find(b"\n") + 1
        self._reader = LineReader(self.paths.events, size - TAIL_BYTES + cut)
        self._poll(self._reader, 2 * TAIL_BYTES)
        self._history = (LineReader(self.paths.events), Course())

    def _read_history(self) -> None:
        if self._history is None:
            return
        reader, course = self._history
        read = reader.offset
        course.read(reader.poll(PIECE_BYTES))
        if reader.restarts:
            self._restart()
        elif reader.offset >= self._reader.offset or reader.offset == read:
            self._reader, self._course, self._history = reader, course, None

    def _poll(self, reader: LineReader, max_bytes: int) -> None:
        restarts = reader.restarts
        lines = reader.poll(max_bytes)
        if reader.restarts != restarts:
            self._restart()
        else:
            self._course.read(lines)

    def _restart(self) -> None:
        """The file was replaced or cut: what it said no longer counts."""
        version = self._course.version + 1
        self._course, self._reader, self._history = Course(), LineReader(self.paths.events), None
        self._course.version = version
        self._begun = False

    def _loaded(self) -> float:
        if self._history is None:
            return 1.0
        return min(1.0, self._history[0].offset / max(1, self._reader.offset))

    def _glance(self) -> None:
        now = time.monotonic()
        if now - self._glanced < GLANCE_S:
            return
        self._glanced = now
        self._holder = self._mirror() if self._mirror is not None else read_holder(self.paths.lock)
        self._record = read_record(self.paths)
        stamp = _stamp(self.paths.config)
        if stamp != self._config_stamp:
            self._config_stamp, self._settings = stamp, _settings(self.paths.config)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def _settings(path: Path) -> Mapping[str, object]:
    """The configuration as it stands in the file: a run of another version is shown too."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _whole_lines(content: bytes, start: int, *, torn_start: bool = False) -> list[tuple[int, bytes]]:
    *lines, _ = content.split(b"\n")
    found = []
    for number, line in enumerate(lines):
        if line and (number or not torn_start):
            found.append((start, line))
        start += len(line) + 1
    return found


def _line_at(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.readline(2**20).rstrip(b"\n")
