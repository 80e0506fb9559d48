"""What the run left behind and told: checkpoints, uploads, alerts, requests, all metrics, the events themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neat.report.document import Absent, Block, Paragraph, Section, Table
from neat.report.gather import Kept
from neat.report.record import Record
from neat.report.scale import binary, number
from neat.report.sections.shared import per_run, rows_table
from neat.report.series import is_number


def checkpoints(runs: Sequence[Record]) -> Section:
    """Checkpoints and uploads of each run."""
    return Section("checkpoints", "Checkpoints and uploads", list(per_run(runs, _checkpoints)))


def _checkpoints(run: Record, _: str) -> Iterator[Block]:
    if run.rows["checkpoint"]:
        columns = [
            ("step", "step"),
            ("folder", "path"),
            ("size", "size"),
            ("seconds to save", "save_s"),
            ("state", "state"),
        ]
        yield rows_table(_with_sizes(run.rows["checkpoint"]), columns, "Checkpoints that were published")
    else:
        yield Absent("checkpoints", "there is no `checkpoint` event")
    if run.rows["upload"]:
        columns = [
            ("time", "time"), ("step", "step"), ("state", "state"), ("repository", "repo"),
            ("checkpoint", "checkpoint"), ("attempt", "attempt"), ("size", "size"), ("waits, s", "wait_s"),
            ("commit", "commit"), ("reason", "reason"),
        ]  # fmt: skip
        yield rows_table(_with_sizes(run.rows["upload"]), columns, "Uploads")
    else:
        yield Absent("uploads", "there is no `upload` event")


def _with_sizes(kept: Kept) -> Kept:
    """The rows with `size`, the bytes as people read them."""
    for row in kept:
        size = row.get("bytes")
        if is_number(size):
            row["size"] = binary(size)
    return kept


def alerts(runs: Sequence[Record]) -> Section:
    """Alerts and requests of each run."""
    return Section("alerts", "Alerts and requests", list(per_run(runs, _alerts)))


def _alerts(run: Record, _: str) -> Iterator[Block]:
    if run.rows["alert"]:
        columns = [("time", "time"), ("step", "step"), ("severity", "severity"), ("message", "message")]
        yield rows_table(run.rows["alert"], columns)
    else:
        yield Paragraph("No alert.")
    if run.rows["request"]:
        columns = [
            ("time", "time"),
            ("step", "step"),
            ("request", "request"),
            ("outcome", "outcome"),
            ("by", "by"),
            ("text", "text"),
        ]
        yield rows_table(run.rows["request"], columns, "Requests")


def metrics(runs: Sequence[Record]) -> Section:
    """Every number that the events hold, and how many events there are."""
    return Section("metrics", "All metrics and events", list(per_run(runs, _metrics)))


def _metrics(run: Record, _: str) -> Iterator[Block]:
    rows = []
    for (kind, key), series in sorted(run.series.items()):
        ends = (series.first[1], series.least[1], series.mean, series.greatest[1], series.last[1])
        rows.append([key, kind, number(series.count), *(number(value) for value in ends)])
    columns = ("metric", "event", "count", "first", "least", "mean", "greatest", "last")
    yield Table(columns, rows, frozenset(range(2, 8)), left_out=run.left_out)
    counts = [[name, number(count)] for name, count in run.counts.most_common()]
    told = [f"{run.read:,} events in the file"]
    for amount, words in (
        (run.superseded, "superseded by a resume and left out"),
        (run.unknown, "of a type or with a step that this program knows nothing of"),
        (run.bad_lines, "lines that are no event (damaged, or of another version)"),
    ):
        told.append(f"{amount:,} {words}")
    yield Table(("event", "count"), counts, frozenset({1}), "; ".join(told) + ".")
