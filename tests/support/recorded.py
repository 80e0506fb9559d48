"""Run directories with invented events, written by the real writer: data of tests, of no real run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from neat.config.load import load
from neat.events.rundir import open_run
from neat.events.schema import Event, encode

Entry = tuple[str, int, dict[str, object]]
"""Type, step, data."""


def write_run(root: Path, entries: Iterable[Entry], overrides: tuple[str, ...] = (), preset: str = "tiny") -> Path:
    """A finished run directory with these events, one a second."""
    with open_run(root, load(preset, [*overrides, 'name="invented"']).config) as run:
        append(run.paths.events, entries)
    return root


def append(path: Path, entries: Iterable[Entry], first: int = 1) -> None:
    """Adds events to a file, numbered from `first`, one a second."""
    with path.open("ab") as file:
        for seq, (kind, step, data) in enumerate(entries, first):
            file.write(encode(Event(seq, 1.8e9 + seq, 1000.0 + seq, kind, step, data)))


def steps(count: int, start: int = 1) -> list[Entry]:
    """`step` events with a loss that falls."""
    return [("step", step, {"train/loss": 4 / step, "train/bpb": 6 / step}) for step in range(start, start + count)]
