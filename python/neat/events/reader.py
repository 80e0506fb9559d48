"""Reads `events.jsonl` while it grows or after the run: replay and tail are the same thing.

A last line without its newline is "not yet" and is read again later. A line that is not an event is counted and
skipped. Memory is bounded by the chunk size, whatever the file holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from neat.events.schema import MAX_LINE_BYTES, SUPERSEDED_BY_RESUME, Event, MalformedEventError, decode

_CHUNK_BYTES = 1_048_576


class LineReader:
    """Follows one file by whole lines. `poll` returns what is new.

    `offset` is the bytes read so far, `restarts` how often the file was found replaced or cut and read from its start,
    `overlong_lines` the lines left out for having more than `MAX_LINE_BYTES`.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self.offset = offset
        self.restarts = 0
        self.overlong_lines = 0
        self._identity: tuple[int, int] | None = None
        self._rest = b""
        self._overlong = False

    def poll(self, max_bytes: int = 8 * _CHUNK_BYTES) -> list[tuple[int, bytes]]:
        """Lines completed since the last call, each with its place in the file, without their newlines.

        Reads at most about `max_bytes`. Empty when there is nothing new or no file yet. A file that was replaced or cut
        is read from its start.
        """
        lines: list[tuple[int, bytes]] = []
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return lines
        with file:
            self._recognise(os.fstat(file.fileno()))
            file.seek(self.offset)
            left = max_bytes
            while left > 0 and (chunk := file.read(min(_CHUNK_BYTES, left))):
                start = self.offset - len(self._rest)
                self.offset += len(chunk)
                left -= len(chunk)
                lines.extend(self._split(start, chunk))
        return lines

    def _recognise(self, status: os.stat_result) -> None:
        identity = (status.st_dev, status.st_ino)
        if self._identity not in (None, identity) or status.st_size < self.offset:
            self.offset, self._rest, self._overlong = 0, b"", False
            self.restarts += 1
        self._identity = identity

    def _split(self, start: int, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        *lines, rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if self._overlong:
                self._overlong = False
            elif line:
                yield start, line
            start += len(line) + 1
        self._rest = b"" if self._overlong else rest
        if len(self._rest) > MAX_LINE_BYTES:
            self._rest, self._overlong = b"", True
            self.overlong_lines += 1


class EventReader:
    """Follows one file by events. `poll` returns what is new.

    `bad_lines` counts what was not an event, `offset` the bytes read so far.
    """

    def __init__(self, path: Path) -> None:
        self._lines = LineReader(path)
        self._refused = 0

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._lines.offset

    @property
    def bad_lines(self) -> int:
        """Lines that were no events."""
        return self._refused + self._lines.overlong_lines

    def poll(self, max_bytes: int = 8 * _CHUNK_BYTES) -> list[Event]:
        """Events completed since the last call, from at most about `max_bytes` of the file.

        Empty when there is nothing new or no file yet. A file that was replaced or cut is read from its start.
        """
        events: list[Event] = []
        for _, line in self._lines.poll(max_bytes):
            try:
                events.append(decode(line))
            except MalformedEventError:
                self._refused += 1
        return events


def read_events(path: Path) -> Iterator[Event]:
    """Every event of a file as it is now, in the order of the file, with bounded memory."""
    reader = EventReader(path)
    read = -1
    while reader.offset > read:
        read = reader.offset
        yield from reader.poll()


def effective(events: Sequence[Event]) -> list[Event]:
    """The course of the run: `events` without what a later resume from an earlier step superseded."""
    kept: list[Event] = []
    limit: int | None = None
    for event in reversed(events):
        if event.type == "resume":
            limit = event.step if limit is None else min(limit, event.step)
        elif event.type in SUPERSEDED_BY_RESUME and limit is not None and event.step > limit:
            continue
        kept.append(event)
    kept.reverse()
    return kept
