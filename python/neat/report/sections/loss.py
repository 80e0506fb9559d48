"""Loss and bits per byte: curves with yardstick and forecast, and a table of the way down."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

from neat.report.document import Absent, Block, Figure, Section, Table
from neat.report.plot import Band, Level, LinePlot
from neat.report.record import Record
from neat.report.scale import number
from neat.report.sections.shared import curves, figure, per_run
from neat.report.series import Point, is_number

NATS_PER_BIT = math.log(2.0)
UNIFORM_BPB = 8.0
"""Bits per byte of a guess that knows nothing: all 256 bytes equally likely (ln 256 = 5.545 nats)."""

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 0.9, 1.0)
"""Shares of the steps done at which the table of the way down has a row."""


def loss(runs: Sequence[Record]) -> Section:
    """Bits per byte of training and of held-out text, and the parts of the objective."""
    blocks: list[Block] = list(_curves(runs))
    if not blocks:
        blocks.append(Absent("loss", "no `step` event holds train/bpb"))
    blocks += per_run(runs, _milestones)
    parts = sorted({key for run in runs for kind, key in run.series if kind == "step" and _is_part(key)})
    pairs = [(key, key.removeprefix("train/").removesuffix("_loss").replace("_", " ")) for key in parts[:8]]
    blocks += figure(runs, "step", pairs, "parts", "Further parts of the objective", "before weights", zero=True)
    return Section("loss", "Loss", blocks)


def _is_part(key: str) -> bool:
    return key.startswith("train/") and (key.endswith("_loss") or key == "train/discrepancy")


def _curves(runs: Sequence[Record]) -> Iterator[Block]:
    lines = curves(runs, "step", "train/bpb", "training")
    held_out = curves(runs, "eval", "eval/bpb", "held out", 1, style="dots")
    if not lines and not held_out:
        return
    yardsticks = {run.final("eval", "eval/ngram_bpb"): run.label for run in runs}
    levels = [
        Level("n-gram model" if len(yardsticks) == 1 else f"n-gram model · {name}", value)
        for value, name in yardsticks.items()
        if value is not None
    ]
    bands = _forecasts(runs[0]) if len(runs) == 1 else []
    plot = LinePlot("loss", "Bits per byte", [*lines, *held_out], "bits per byte", bands=bands, levels=levels)
    yield Figure(plot, wide=True)
    late = _late(plot)
    if late is not None:
        yield Figure(late, wide=True)


def _forecasts(run: Record) -> list[Band]:
    """What the dynamics model expected of the loss, with the interval it names, at its nearest horizon."""
    if not run.forecasts:
        return []
    horizon = min(run.forecasts)
    mean, corrected, sigma = run.forecasts[horizon]
    nominal = run.dynamics.get("interval")
    nominal = nominal if is_number(nominal) and 0 < nominal < 1 else _ONE_SIGMA
    reach = NormalDist().inv_cdf(0.5 + nominal / 2)
    centre, spread = (corrected or mean).points(), dict(sigma.points())
    rows = [
        ((x, (y - reach * spread[x]) / NATS_PER_BIT, (y + reach * spread[x]) / NATS_PER_BIT))
        for x, y in centre
        if x in spread
    ]
    return [Band(f"forecast {horizon} steps ahead, {100 * nominal:.0f} %", rows, 4)] if rows else []


_ONE_SIGMA = NormalDist().cdf(1.0) - NormalDist().cdf(-1.0)


def _late(plot: LinePlot) -> LinePlot | None:
    """The last four fifths with a scale of their own, where the beginning hides them."""
    end = max(line.points[-1][0] for line in plot.lines)
    since = end / 5
    shown = [y for line in plot.lines if line.style != "faint" for x, y in line.points if x >= since]
    everything = [y for line in plot.lines for _, y in line.points]
    if len(shown) < _ENOUGH or max(shown) - min(shown) > 0.5 * (max(everything) - min(everything)):
        return None
    reach = [*shown, *(level.value for level in plot.levels)]
    margin = 0.06 * (max(reach) - min(reach)) or 0.05
    return LinePlot(
        "loss-late", "Bits per byte, the last four fifths", plot.lines, plot.y_label, bands=plot.bands,
        levels=plot.levels, x_from=since, y_range=(min(reach) - margin, max(reach) + margin),
    )  # fmt: skip


_ENOUGH = 8


def _milestones(run: Record, _: str) -> Iterator[Block]:
    trend = run.metric("step", "train/loss").trend()
    held_out = run.metric("eval", "eval/bpb").points()
    if not trend:
        return
    series = run.metric("step", "train/loss")
    trend = [series.first, *trend[1:-1], series.last] if len(trend) > 1 else trend
    places = sorted({_nearest(trend, share * trend[-1][0]) for share in SHARES})
    rows = []
    for index in places:
        step, nats = trend[index]
        bits = nats / NATS_PER_BIT
        before = [value for place, value in held_out if place <= math.ceil(step)]
        rows.append(
            [number(round(step)), f"{nats:.4f}", f"{bits:.4f}", f"{100 * bits / UNIFORM_BPB:.1f} %",
             f"{before[-1]:.4f}" if before else "–"]
        )  # fmt: skip
    columns = ("step", "nats per byte", "bits per byte", "of ln 256", "held out, last before")
    caption = (
        "The way down. A guess that knows nothing has ln 256 = 5.545 nats, 8 bits per byte, where training begins. "
        "In a long run a row between the first and the last is the mean of the reported steps around it."
    )
    yield Table(columns, rows, frozenset(range(5)), caption)


def _nearest(points: Sequence[Point], place: float) -> int:
    return min(range(len(points)), key=lambda index: abs(points[index][0] - place))
