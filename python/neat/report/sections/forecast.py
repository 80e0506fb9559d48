"""The dynamics model: how well it forecasts, how well calibrated its doubt is, what it learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neat.report.document import Absent, Block, Figure, Section, Table
from neat.report.gather import listed
from neat.report.plot import Bar, BarPlot, Line, LinePlot
from neat.report.record import Record
from neat.report.scale import number
from neat.report.sections.shared import cell, curve, figure, per_run
from neat.report.series import is_number

_ERRORS = (
    ("error/mae", "model alone", 0),
    ("error/mae_fit", "log-linear fit", 6),
    ("error/mae_corrected", "corrected", 2),
)


def forecast(runs: Sequence[Record]) -> Section:
    """Errors, calibration, gains and credit of the dynamics model of each run."""
    return Section("forecast", "Forecast of the dynamics model", list(per_run(runs, _forecast)))


def _forecast(run: Record, prefix: str) -> Iterator[Block]:
    if not run.dynamics:
        yield Absent("forecasts", "there is no `dynamics` event: no dynamics model was at work")
        return
    yield _calibration(run)
    yield from _error_curves(run, prefix)
    pairs = [("model/nll", "negative log-likelihood"), ("model/kl", "divergence")]
    yield from figure([run], "dynamics", pairs, f"{prefix}dynamics-loss", "Training of the dynamics model", "nats")
    norm = [("model/grad_norm", "gradient norm")]
    title = "Gradient norm of the dynamics model"
    yield from figure([run], "dynamics", norm, f"{prefix}dynamics-norm", title, "norm", zero=True)
    gains = listed(run.dynamics.get("gain"), run.dynamics.get("kinds"))
    bars = [Bar(name, value) for name, value in gains.items() if value is not None]
    if bars:
        plot = BarPlot(f"{prefix}gain", "Gain of the predicted delta by kind of tensor", bars, "gain", horizontal=True)
        yield Figure(plot)
    yield from _candidates(run)


def _calibration(run: Record) -> Table:
    facts = run.dynamics
    horizons = facts.get("horizons")
    keys = (*(key for key, _, _ in _ERRORS), "coverage", "count")
    columns = {key: listed(facts.get(key), horizons) for key in keys}
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    rows = [[name, *(_shown(column.get(name)) for column in columns.values())] for name in names]
    nominal = facts.get("interval")
    aim = f"; the interval is meant to hold {100 * nominal:.0f} %" if is_number(nominal) else ""
    header = ("steps ahead", *(f"error, {name}" for _, name, _ in _ERRORS), "inside the interval", "came due")
    caption = f"Calibration at step {cell(facts['step'])}: mean absolute error in nats per byte{aim}."
    return Table(header, rows, frozenset(range(6)), caption)


def _shown(value: float | None) -> str:
    if value is None:
        return "not known yet"
    return number(int(value)) if value.is_integer() else number(value)


def _error_curves(run: Record, prefix: str) -> Iterator[Block]:
    keys = sorted(
        {key.rpartition("/")[2] for kind, key in run.series if kind == "dynamics" and key.startswith("error/")}
    )
    horizons = sorted((key for key in keys if key.isdigit()), key=int)
    for horizon in horizons[:1] + horizons[-1:] * (len(horizons) > 1):
        lines: list[Line] = []
        for key, name, colour in _ERRORS:
            series = run.metric("dynamics", f"{key}/{horizon}")
            if series:
                lines += curve(series, name, colour)
        title = f"Forecast error {horizon} steps ahead"
        yield Figure(LinePlot(f"{prefix}forecast-error-{horizon}", title, lines, "nats per byte", zero=True))


def _candidates(run: Record) -> Iterator[Block]:
    mean, chance = (
        listed(run.dynamics.get(key), run.dynamics.get("candidates")) for key in ("credit/mean", "credit/probability")
    )
    names = list(dict.fromkeys([*mean, *chance]))
    if names:
        rows = [[name, _shown(mean.get(name)), _shown(chance.get(name))] for name in names]
        caption = "What the model expects of the candidates of the next jump."
        yield Table(("candidate", "credit, nats", "chance that it is positive"), rows, frozenset({1, 2}), caption)
