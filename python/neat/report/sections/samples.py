"""What the model wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neat.report.document import Absent, Block, Quote, Section
from neat.report.record import Record
from neat.report.scale import number
from neat.report.sections.shared import cell, per_run

_MEASURES = (
    ("distinct_4", "different strings of four bytes"),
    ("longest_run", "longest run of one byte"),
    ("top_byte_share", "share of the most frequent byte"),
)
_SHOWN = 12


def samples(runs: Sequence[Record]) -> Section:
    """The samples of each run, the newest first, with their measures of degeneration."""
    return Section("samples", "Samples", list(per_run(runs, _samples)))


def _samples(run: Record, _: str) -> Iterator[Block]:
    rows = list(run.rows["sample"])[::-1]
    if not rows:
        yield Absent("samples", "there is no `sample` event; `train.sample_bytes` asks for one")
    for row in rows[:_SHOWN]:
        measures = ", ".join(f"{name} {cell(row[key])}" for key, name in _MEASURES if row.get(key) is not None)
        yield Quote(
            f"Step {number(_whole(row['step']))}", str(row.get("prompt", "")), str(row.get("text", "")), measures
        )


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
