"""The `step` events of a run as a table for other programs: one row an event, one column a key."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from neat.report.source import Course, open_paths

FIRST = ("step", "time", "mono", "seq")
"""The first columns; the keys of the events follow by name."""


def write_csv(run_dir: Path, file: TextIO) -> int:
    """Writes the table and returns its number of rows, without the header.

    What a resume superseded is left out. A key that an event lacks, and a number that was not finite, is an empty
    cell; a list or table is JSON.

    Raises:
        CheckpointError: There is no run, or none of its events can be read.
    """
    paths = open_paths(run_dir)
    keys = sorted({key for data in _steps(paths.events) for key in data} - set(FIRST))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*FIRST, *keys])
    rows = 0
    for data in _steps(paths.events):
        # A key that came while the table was written has no column.
        writer.writerow([_cell(data.get(key)) for key in (*FIRST, *keys)])
        rows += 1
    return rows


def _steps(path: Path) -> Iterator[dict[str, object]]:
    for event in Course(path):
        if event.type == "step":
            yield {**event.data, "step": event.step, "time": event.time, "mono": event.mono, "seq": event.seq}


def _cell(value: object) -> object:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case str():
            # A spreadsheet takes such a text for a formula.
            return "'" + value if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
        case int() | float():
            return repr(value)
    return json.dumps(value)
