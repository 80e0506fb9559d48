"""Dynamics: what was predicted, whether it was accepted, what it earned, and how well the forecasts are calibrated."""

from __future__ import annotations

import math
from collections.abc import Mapping

from neat.events.schema import Event
from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import number, percent, short
from neat.monitor.plot import draw, fit
from neat.monitor.screens.base import NARROW, Context, Screen, facts, message
from neat.monitor.screens.overview import overlaid
from neat.monitor.screens.ribbon import draw_ribbon, phase_spans
from neat.monitor.series import x_range
from neat.monitor.snapshot import Snapshot

_HEADS = ("ahead", "loss", "± σ", "MAE", "fit", "inside")
_ALL_COLUMNS = 44
"""Width from which the table of forecasts has all its columns."""
_KINDS = ("jump", "correct", "rollback", "probe", "phase")


class Dynamics(Screen):
    """Hybrid prediction."""

    name = "dynamics"

    def draw(self, canvas: Canvas, context: Context) -> None:
        """Ribbon, counts, forecasts by horizon, credit over time, and the ledger."""
        run, area = context.run, canvas.area
        if not any(run.events.get(kind) for kind in (*_KINDS, "dynamics")):
            text = ["hybrid prediction has said nothing in this run", "it is off, or the run is still warming up"]
            message(canvas, area, text)
            return
        wide = canvas.width >= NARROW
        ribbon_height = 3 + bool(phase_spans(run)) + bool(run.events.get("jump") and canvas.height > 18)
        inside = canvas.frame(Rect(area.x, area.y, area.width, ribbon_height), "Phases", _counts(run))
        draw_ribbon(canvas, inside, run)
        y = area.y + ribbon_height
        left = area.height - ribbon_height
        upper_height = max(7, min(14, left // 2)) if wide else min(7, left // 2)
        upper = Rect(area.x, y, area.width, upper_height)
        if wide:
            parts = upper.columns(0.5, 0.5) if canvas.width < 110 else upper.columns(0.4, 0.35, 0.25)
            self._forecasts(canvas, parts[0], run)
            self._credit(canvas, parts[1], context)
            if len(parts) > 2:
                self._kinds(canvas, parts[2], run)
        else:
            self._forecasts(canvas, upper, run)
        self._ledger(canvas, Rect(area.x, y + upper_height, area.width, left - upper_height), run)

    def _forecasts(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        """A row per horizon: forecast, its sigma, errors of the model and of the fit alone, coverage."""
        event = run.latest("dynamics")
        nominal = _number(event, "interval")
        note = "" if nominal is None else f"interval {percent(nominal)}"
        inside = canvas.frame(area, "Forecasts", note)
        if event is None:
            message(canvas, inside, ["no forecast yet"])
            return
        rows = [_forecast_row(event, row, ahead, nominal) for row, ahead in enumerate(_list(event, "horizons"))]
        chosen = [0, 1, 2, 3, 4, 5] if inside.width >= _ALL_COLUMNS else [0, 1, 3, 4, 5]
        width = max(6, inside.width // len(chosen))
        heads = [(_HEADS[column].rjust(width - 1) + " ", "dim") for column in chosen]
        canvas.spans(inside.x, inside.y, heads, inside.width)
        for y, cells in enumerate(rows[: inside.height - 1], inside.y + 1):
            parts = [(cells[column][0].rjust(width - 1) + " ", cells[column][1]) for column in chosen]
            canvas.spans(inside.x, y, parts, inside.width)

    def _credit(self, canvas: Canvas, area: Rect, context: Context) -> None:
        """Error of the forecasts over the run, or the credit where no error is known."""
        run = context.run
        name = next((name for name in ("credit/total", "error/mae[0]", "model/nll") if name in run.metrics), "")
        title = {"credit/total": "Credit, nats", "error/mae[0]": "Error of forecasts"}.get(name, "Model")
        inside = canvas.frame(area, title, number(run.last(name), 3) if name else "")
        low, high = x_range([run], context.looks.view)
        lines = overlaid(context, name, low, high, max(2, (inside.width - 8) * 2)) if name else []
        axes = fit(lines, [], low, high, log=False)
        if axes is None:
            message(canvas, inside, ["nothing came due yet"])
        else:
            draw(canvas, inside, axes, lines)

    def _kinds(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        """Gain per kind of tensor, and below it the expected credit of each candidate."""
        event = run.latest("dynamics")
        inside = canvas.frame(area, "Gain and credit")
        gains = _gains(event)
        top = max(map(abs, gains.values()), default=1.0) or 1.0
        for y, (kind, gain) in enumerate(list(gains.items())[: inside.height], inside.y):
            canvas.put(inside.x, y, short(kind, 12), "dim")
            canvas.bar(Rect(inside.x + 13, y, max(0, inside.width - 20), 1), abs(gain) / top, "note")
            canvas.put_right(inside.x + inside.width, y, number(gain, 3))
        means, chances = _list(event, "credit/mean"), _list(event, "credit/probability")
        rows = [
            (f"candidate {place}", f"{number(mean, 3)}, {percent(chance)}", "")
            for place, (mean, chance) in enumerate(zip(means, chances, strict=False), 1)
        ]
        below = Rect(inside.x, inside.y + len(gains) + 1, inside.width, max(0, inside.height - len(gains) - 1))
        facts(canvas, below, rows, 13)
        if not gains and not rows:
            message(canvas, inside, ["n/a"])

    def _ledger(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        """What happened, the newest first."""
        spent, cap = _last_of(run, "credit/spent_steps"), _last_of(run, "credit/cap_steps")
        note = "" if spent is None else f"cost {number(spent, 3)} of {number(cap, 3)} steps allowed"
        inside = canvas.frame(area, "Ledger", note)
        events = sorted(
            (event for kind in _KINDS for event in run.events.get(kind, ())), key=lambda event: event.seq, reverse=True
        )
        self.offset = max(0, min(self.offset, len(events) - inside.height))
        for row, event in enumerate(events[self.offset : self.offset + inside.height]):
            canvas.spans(inside.x, inside.y + row, _entry(event), inside.width)
        if not events:
            message(canvas, inside, ["no jump has been tried yet"])


def _forecast_row(event: Event, row: int, ahead: float, nominal: float | None) -> list[tuple[str, str]]:
    """The cells of one horizon: text and style."""
    mean, sigma = _item(event, "forecast/mean", row), _item(event, "forecast/sigma", row)
    model, alone = _best_error(event, row), _item(event, "error/mae_fit", row)
    covered = _item(event, "coverage", row)
    better = model is not None and alone is not None and model < alone
    return [
        (f"{ahead:g}", ""), (number(mean, 3), "title"), (number(sigma, 2), "dim"),
        (number(model, 3), "good" if better else "warn" if alone is not None else ""), (number(alone, 3), "dim"),
        (percent(covered), _coverage_style(covered, nominal)),
    ]  # fmt: skip


def _gains(event: Event | None) -> dict[str, float]:
    """Gain by kind, as a table or as a list beside `kinds`."""
    gain = None if event is None else event.data.get("gain")
    if isinstance(gain, Mapping):
        return {str(kind): float(value) for kind, value in gain.items() if isinstance(value, int | float)}
    values, kinds = _list(event, "gain"), event.data.get("kinds") if event is not None else None
    names = [str(kind) for kind in kinds] if isinstance(kinds, list) else [str(place) for place in range(len(values))]
    return dict(zip(names, values, strict=False))


def _counts(run: Snapshot) -> str:
    jumps = run.events.get("jump", ())
    accepted = sum(bool(event.data.get("accepted")) for event in jumps)
    parts = [f"▲ {accepted} accepted", f"× {len(jumps) - accepted} refused"]
    return "  ".join([*parts, f"▼ {len(run.events.get('rollback', ()))} rolled back"])


def _entry(event: Event) -> list[tuple[str, str]]:
    """One line of the ledger: step, what, figures, reason."""
    data = event.data

    def told(key: str, digits: int = 3) -> str:
        return number(_number(event, key), digits)

    accepted = bool(data.get("accepted", event.type == "phase"))
    match event.type:
        case "jump":
            word, style = ("▲ jump accepted", "good") if accepted else ("× jump refused", "dim")
            figures = f"+{told('horizon')} steps, credit {told('credit/expected')} "
        case "correct":
            word, style = "● corrected", "CORRECT"
            figures = f"credit {told('credit')}, cosine {told('residual_cosine', 2)} "
        case "rollback":
            word, style = "▼ rolled back", "bad"
            figures = f"{data.get('signal', '')} "
        case "probe":
            word, style = "◇ probe", "info"
            figures = f"{data.get('name', '')}: {told('loss', 4)} against {told('baseline', 4)} "
        case _:
            word, style = (f"→ {data.get('to', '')}", "info") if accepted else (f"× no {data.get('to', '')}", "warn")
            figures = ""
    outcome = f"{data['outcome']}: " if event.type == "probe" and data.get("outcome") else ""
    reason = short(outcome + str(data.get("reason", "")), 300)
    return [
        (f"{event.step:>8} ", "dim"),
        (f"{word:<17}", style),
        (short(figures, 120) + " " * bool(figures), "title"),
        (reason, ""),
    ]


def _number(event: Event | None, key: str) -> float | None:
    value = None if event is None else event.data.get(key)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _list(event: Event | None, key: str) -> list[float]:
    value = None if event is None else event.data.get(key)
    return [float(item) for item in value if isinstance(item, int | float)] if isinstance(value, list) else []


def _item(event: Event, key: str, place: int) -> float | None:
    value = event.data.get(key)
    item = value[place] if isinstance(value, list) and place < len(value) else None
    return float(item) if isinstance(item, int | float) else None


def _best_error(event: Event, row: int) -> float | None:
    corrected = _item(event, "error/mae_corrected", row)
    return corrected if corrected is not None else _item(event, "error/mae", row)


def _coverage_style(covered: float | None, nominal: float | None) -> str:
    if covered is None or nominal is None:
        return "dim"
    return "good" if abs(covered - nominal) <= 0.1 else "warn"


def _last_of(run: Snapshot, key: str) -> float | None:
    return _number(run.latest("jump"), key)
