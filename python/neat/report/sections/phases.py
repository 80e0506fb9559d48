"""Hybrid prediction: when the run was in which phase, what it tried, what was refused and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neat.report.document import Absent, Block, Figure, Paragraph, Section, Table
from neat.report.export import PHASES
from neat.report.plot import Lane, LanePlot, Level, Line, LinePlot, Mark
from neat.report.record import Record
from neat.report.scale import number
from neat.report.sections.shared import cell, curve, per_run, rows_table

_COLOURS = {"WARMUP": 6, "FULL": 0, "PREDICT": 4, "CORRECT": 2}
_LEDGER = (
    ("credit/total", "total: forecast minus measured loss, nats", 2),
    ("credit", "of one jump, nats", 0),
)
_ERRORS = (("error/before", "without", 6), ("error/after", "with", 2))


def phases(runs: Sequence[Record]) -> Section:
    """Timeline, jumps, corrections, rollbacks and the credit ledger of each run."""
    return Section("phases", "Phases", list(per_run(runs, _phases)))


def _phases(run: Record, prefix: str) -> Iterator[Block]:
    if not run.lanes:
        yield Absent("phases", "there is no `phase` event: hybrid prediction was off, or never came to a decision")
        return
    names = [name for name in (*PHASES, *run.lanes.visits) if name in run.lanes.visits]
    lanes = [Lane(name, run.lanes.spans(name), _COLOURS.get(name, 3)) for name in dict.fromkeys(names)]
    plot = LanePlot(f"{prefix}phases", "Phases over steps", lanes, max(run.lanes.end, run.step), _marks(run))
    yield Figure(plot, wide=True)
    yield _shares(run)
    yield from _refusals(run)
    yield from _jumps(run)
    yield from _corrections(run, prefix)
    yield from _rollbacks(run)


def _marks(run: Record) -> list[Mark]:
    """Jumps and rollbacks; where a report keeps their events, with the reasons."""
    reasons = {("rollback", row["step"]): row.get("reason") for row in run.rows["rollback"]}
    reasons |= {("jump", row["step"]): row.get("reason") for row in run.rows["jump"]}
    marks = []
    for sign, series in run.marks.items():
        kind = "rollback" if sign == "rollback" else "jump"
        for step, _ in series.points():
            reason = reasons.get((kind, int(step)))
            name = kind if kind == sign else f"{kind} {sign}"
            marks.append(Mark(step, sign, f"{name} at step {step:,.0f}" + (f": {cell(reason)}" if reason else "")))
    return marks


def _shares(run: Record) -> Table:
    total = sum(run.lanes.steps.values()) or 1.0
    rows = []
    for name, visits in run.lanes.visits.items():
        steps = run.lanes.steps.get(name, 0.0)
        rows.append([name, number(visits), number(int(steps)), f"{100 * steps / total:.1f} %"])
    return Table(("phase", "visits", "steps of training", "share"), rows, frozenset({1, 2, 3}))


def _refusals(run: Record) -> Iterator[Block]:
    if not run.refusals:
        yield Paragraph("No move between phases was refused.")
        return
    rows = [[reason, number(count)] for reason, count in run.refusals.most_common(12)]
    left_out = max(0, len(run.refusals) - 12)
    yield Table(("moves refused because", "times"), rows, frozenset({1}), left_out=left_out)


def _jumps(run: Record) -> Iterator[Block]:
    if not run.rows["jump"]:
        yield Absent("jumps", "there is no `jump` event: no prediction was tried")
        return
    columns = [
        ("step", "step"), ("mode", "mode"), ("accepted", "accepted"), ("horizon", "horizon"), ("share", "share"),
        ("delta norm", "delta_norm"), ("forecast, nats", "forecast/loss"), ("σ", "forecast/sigma"),
        ("confidence", "phase/confidence"), ("reason", "reason"),
    ]  # fmt: skip
    caption = f"Jumps: {run.jumps[True]:,} accepted, {run.jumps[False]:,} refused."
    yield rows_table(run.rows["jump"], columns, caption)


def _corrections(run: Record, prefix: str) -> Iterator[Block]:
    if not run.rows["correct"]:
        yield Absent("credit ledger", "there is no `correct` event")
        return
    credit, error = _dots(run, _LEDGER), _dots(run, _ERRORS)
    if credit:
        levels = [Level("nothing gained", 0.0)]
        yield Figure(LinePlot(f"{prefix}credit", "Credit ledger", credit, "nats per byte", levels=levels))
    if error:
        title = "Error of the forecast loss, without and with the corrector"
        yield Figure(LinePlot(f"{prefix}corrector", title, error, "nats per byte", zero=True))
    columns = [
        ("step", "step"), ("steps", "steps"), ("residual norm", "residual_norm"), ("cosine", "residual_cosine"),
        ("taken back", "correction"), ("its norm", "correction_norm"), ("credit, nats", "credit"),
        ("credit in all", "credit/total"), ("residuals held", "store"),
    ]  # fmt: skip
    yield rows_table(run.rows["correct"], columns, "What CORRECT found after each jump.")


def _dots(run: Record, metrics: Sequence[tuple[str, str, int]]) -> list[Line]:
    found = ((run.metric("correct", key), name, colour) for key, name, colour in metrics)
    return [line for series, name, colour in found if series for line in curve(series, name, colour, style="dots")]


def _rollbacks(run: Record) -> Iterator[Block]:
    if not run.rows["rollback"]:
        yield Paragraph("No rollback.")
        return
    columns = [
        ("step", "step"), ("back to step", "snapshot_step"), ("signal", "signal"), ("severity", "severity"),
        ("count", "count"), ("limit", "limit"), ("learning rate ×", "lr_scale"), ("horizon ×", "horizon_scale"),
        ("reason", "reason"),
    ]  # fmt: skip
    yield rows_table(run.rows["rollback"], columns, "Rollbacks")
