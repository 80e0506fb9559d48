"""Opens a run directory for a report and reads the course of the run with bounded memory.

The run may go on meanwhile: what is read is the file as it was when reading began.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from neat.errors import CheckpointError
from neat.events.reader import EventReader
from neat.events.rundir import RunPaths
from neat.events.schema import SUPERSEDED_BY_RESUME, VERSION, Event

_PIECE_BYTES = 1_048_576
_BEGINNING_BYTES = 65_536


def open_paths(root: Path) -> RunPaths:
    """The places of the run in `root`; raises `CheckpointError` where there is none, or none that can be read."""
    paths = RunPaths(root)
    if not root.exists():
        raise CheckpointError(f"there is no run {root}", hint="give the run directory, as in runs/NAME")
    if not paths.is_run():
        raise CheckpointError(f"{root} is not a run directory", hint="a run directory has a config.toml")
    try:
        with paths.events.open("rb"):
            pass
    except FileNotFoundError:
        raise CheckpointError(
            f"{root} has no events.jsonl", hint="there is something to report once the run has begun"
        ) from None
    except OSError as error:
        raise CheckpointError(f"cannot read {paths.events}: {error.strerror or error}") from error
    return paths


class Course:
    """The events of a run, read once by iteration: `effective` of the reader, without holding them.

    What a resume superseded is left out and counted. After the iteration `read` is the number of events in the file,
    `superseded` those left out, `bad_lines` the lines that are no event.

    Args:
        path: `events.jsonl`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.read = 0
        self.superseded = 0
        self.bad_lines = 0
        self._size = _size(path)

    def __iter__(self) -> Iterator[Event]:
        resumes = self._resumes()
        self.read = self.superseded = 0
        for number, event in enumerate(self._events()):
            while resumes and resumes[-1][0] <= number:
                resumes.pop()
            self.read += 1
            if event.type in SUPERSEDED_BY_RESUME and resumes and event.step > resumes[-1][1]:
                self.superseded += 1
            else:
                yield event
        if not self.read:
            _explain_empty(self._path, self.bad_lines)

    def _resumes(self) -> list[tuple[int, int]]:
        """(number of the event, least step of it and all later resumes), the last first: a stack."""
        if not _mentions(self._path, b"resume", self._size):
            return []
        found = [(number, event.step) for number, event in enumerate(self._events()) if event.type == "resume"]
        stack: list[tuple[int, int]] = []
        for number, step in reversed(found):
            stack.append((number, min(step, stack[-1][1]) if stack else step))
        return stack

    def _events(self) -> Iterator[Event]:
        reader = EventReader(self._path)
        read = -1
        try:
            while read < reader.offset < self._size or read < 0:
                read = reader.offset
                yield from reader.poll(min(_PIECE_BYTES, self._size - reader.offset))
        except OSError as error:
            raise CheckpointError(f"cannot read {self._path}: {error.strerror or error}") from error
        self.bad_lines = reader.bad_lines


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror or error}") from error


def _mentions(path: Path, word: bytes, size: int) -> bool:
    """Whether the first `size` bytes hold `word`: most runs were never interrupted, and need one reading only."""
    tail = b""
    with path.open("rb") as file:
        while size > 0 and (piece := file.read(min(_PIECE_BYTES, size))):
            size -= len(piece)
            if word in tail + piece:
                return True
            tail = piece[-len(word) :]
    return False


def _explain_empty(path: Path, bad_lines: int) -> None:
    """Says why a file without a single event has none."""
    if not bad_lines:
        raise CheckpointError(f"{path} holds no event yet", hint="there is something to report once the run has begun")
    version = _strange_version(path)
    if version is not None:
        raise CheckpointError(
            f"{path} is of schema version {version}; this program reads up to {VERSION}",
            hint="use the version of neat that wrote it, or a newer one",
        )
    raise CheckpointError(f"none of the {bad_lines} lines of {path} is an event", hint="is it the file of a run?")


def _strange_version(path: Path) -> int | None:
    """The schema version of the first line that names another one than ours."""
    with path.open("rb") as file:
        for line in file.read(_BEGINNING_BYTES).split(b"\n"):
            try:
                table = json.loads(line)
            except (ValueError, RecursionError):
                continue
            version = table.get("v") if isinstance(table, dict) else None
            if type(version) is int and not 1 <= version <= VERSION:
                return version
    return None
