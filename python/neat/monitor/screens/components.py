"""Components: what each part of the network does, and where the text is cut into patches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import amount, number, percent, short
from neat.monitor.screens.base import Context, Screen, column_means, message, sparkline
from neat.monitor.screens.patches import draw_patches
from neat.monitor.snapshot import Snapshot
from neat.monitor.theme import HEAT

_WIDE, _MEDIUM, _TALL = 150, 80, 30


class Components(Screen):
    """From `components`, `step` and `sample` events."""

    name = "components"

    def draw(self, canvas: Canvas, context: Context) -> None:
        """As many panels as fit: the heat map first, the others in order of their use."""
        run, area = context.run, canvas.area
        if run.latest("components") is None and run.last("patch/mean_length") is None:
            message(canvas, area, ["no components event yet", "train.diagnose_every=100 writes one every 100 steps"])
            return
        if canvas.width < _MEDIUM:
            rows = area.rows(0.5, 0.5)
            self._heat(canvas, rows[0], run)
            halves = rows[1].columns(0.5, 0.5)
            self._lengths(canvas, halves[0], run)
            self._figures(canvas, halves[1], run)
            return
        columns = 3 if canvas.width >= _WIDE else 2
        if canvas.height >= _TALL:
            rows = area.rows(0.36, 0.34, 0.30)
        else:
            rows = area.rows(0.5, 0.5)
        top = rows[0].columns(0.6, 0.4) if columns == 2 else rows[0].columns(0.5, 0.25, 0.25)
        self._heat(canvas, top[0], run)
        self._norms(canvas, top[1], run)
        if columns == 3:
            self._time(canvas, top[2], run)
        middle = rows[1].columns(*[1] * (columns + (canvas.width >= 110)))
        panels = [self._lengths, self._entropies, self._figures, self._halting]
        if canvas.width < 110:
            panels = [self._lengths, self._figures]
        for part, panel in zip(middle, panels, strict=False):
            panel(canvas, part, run)
        if len(rows) > 2:
            self._boundaries(canvas, rows[2], run)

    def _heat(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        """Gradient norm by layer (rows) and time (columns), each row relative to all: light is large."""
        layers = sorted(name for name in run.metrics if name.startswith("grad_norm/layer["))
        inside = canvas.frame(area, "Gradient norm, layers over time", "░ little  █ much" if layers else "")
        if not layers:
            message(canvas, inside, ["no components event yet: train.diagnose_every"])
            return
        label = min(max(len(_layer(name)) for name in layers) + 1, inside.width // 3)
        columns = max(1, inside.width - label - 8)
        means = {name: column_means(run, name, columns) for name in layers}
        logs = [math.log10(value) for row in means.values() for value in row if value > 0]
        low, high = (min(logs), max(logs)) if logs else (0.0, 1.0)
        tall = max(1, min(3, inside.height // len(layers)))
        for place, name in enumerate(layers[: inside.height // tall]):
            y = inside.y + place * tall
            canvas.put(inside.x, y, _layer(name), "dim", label)
            for row in range(tall):
                _heat_row(canvas, Rect(inside.x + label, y + row, columns, 1), means[name], low, high)
            canvas.put_right(inside.x + inside.width, y, number(run.last(name), 3))

    def _norms(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        inside = canvas.frame(area, "Gradient norm by part")
        _bars(canvas, inside, _table(run, "grad_norm/component"), "bar", lambda value: number(value, 3))

    def _time(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        inside = canvas.frame(area, "Time by part")
        shares = sorted(_table(run, "time/share").items(), key=lambda item: -item[1])
        _bars(canvas, inside, dict(shares), "line3", percent)

    def _lengths(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        inside = canvas.frame(area, "Patch lengths", f"mean {number(run.last('patch/mean_length'), 3)}")
        _histogram(canvas, inside, _table(run, "patch/lengths"), "line1", "bytes")

    def _entropies(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        inside = canvas.frame(area, "Entropy of bytes")
        _histogram(canvas, inside, _table(run, "patch/entropies"), "line5", "bits")

    def _figures(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        """Memory, dispatch and whatever else the parts tell, each with its course."""
        inside = canvas.frame(area, "Memory and experts")
        names = [name for name in run.metrics if name.startswith(("memory/", "svf/", "expert/", "activation/"))]
        names.sort(key=lambda name: (name != "memory/surprise", not name.startswith("svf/"), name))
        for y, name in enumerate(names[: inside.height]):
            width = min(max(map(len, names)) + 1, inside.width // 2)
            canvas.put(inside.x, inside.y + y, short(name, width - 1), "dim")
            end = canvas.put(inside.x + width, inside.y + y, number(run.last(name), 3).ljust(9), "title")
            room = inside.x + inside.width - end
            canvas.put(end, inside.y + y, sparkline(column_means(run, name, room), room), "line4")
        if not names:
            message(canvas, inside, ["this model has no memory and no experts"])

    def _halting(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        depths = {
            name.removeprefix("halting/depth_"): run.last(name) or 0.0
            for name in sorted(run.metrics)
            if name.startswith("halting/depth_")
        }
        depth = run.last("halting/depth")
        inside = canvas.frame(area, "Halting", "" if depth is None else f"mean {number(depth, 3)}")
        if not depths:
            message(canvas, inside, ["every byte has the same depth"])
            return
        _bars(canvas, inside, {f"depth {name}": share for name, share in depths.items()}, "line2", percent)
        rows = [
            ("entropy", "halting/entropy"),
            ("right", "halting/right"),
            ("miscalibrated", "halting/calibration_error"),
        ]
        for y, (label, name) in enumerate(rows, len(depths) + 1):
            if y < inside.height:
                canvas.put(inside.x, inside.y + y, label, "dim")
                canvas.put_right(inside.x + inside.width, inside.y + y, number(run.last(name), 3))

    def _boundaries(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        event = run.latest("sample")
        inside = canvas.frame(area, "Patches of the newest sample", f"step {event.step}" if event else "")
        if event is None:
            message(canvas, inside, ["no sample yet"])
        else:
            draw_patches(canvas, inside, event, 0)


def _table(run: Snapshot, key: str) -> dict[str, float]:
    """A table of numbers in the newest components event; text in it is left out."""
    event = run.latest("components")
    table = None if event is None else event.data.get(key)
    if not isinstance(table, Mapping):
        return {}
    return {str(name): float(value) for name, value in table.items() if isinstance(value, int | float)}


def _layer(name: str) -> str:
    inner = name[name.index("[") + 1 : -1]
    return inner.replace("latent.layers.", "latent ").replace("patching.", "").replace("coder.", "coder ")


def _heat_row(canvas: Canvas, area: Rect, values: Sequence[float], low: float, high: float) -> None:
    """Cells by logarithm; a shade beside the colour says the same."""
    if not values:
        return
    for column in range(area.width):
        value = values[column * len(values) // area.width]
        if value > 0 and math.isfinite(value):
            share = (math.log10(value) - low) / ((high - low) or 1.0)
            level = min(len(HEAT) - 1, int(share * len(HEAT)))
            canvas.put(area.x + column, area.y, " ░░▒▒▓▓█"[level], f"heat{min(7, level + 1)} on heat{level}")


def _bars(canvas: Canvas, area: Rect, values: Mapping[str, float], style: str, shown: object) -> None:
    """A bar per name."""
    if not values:
        message(canvas, area, ["n/a"])
        return
    text = shown if callable(shown) else number
    top = max(values.values()) or 1.0
    label = min(max(map(len, values)) + 1, area.width // 2)
    for y, (name, value) in enumerate(list(values.items())[: area.height]):
        canvas.put(area.x, area.y + y, short(name, label - 1), "dim")
        canvas.bar(Rect(area.x + label, area.y + y, max(0, area.width - label - 7), 1), value / top, style)
        canvas.put_right(area.x + area.width, area.y + y, text(value))


def _histogram(canvas: Canvas, area: Rect, counts: Mapping[str, float], style: str, unit: str) -> None:
    """Vertical bars over a numeric axis."""
    places = {float(name): count for name, count in counts.items() if _is_number(name)}
    if not places or area.height < 3:
        message(canvas, area, ["n/a"])
        return
    total, top = sum(places.values()), max(places.values())
    positions = sorted(places)
    stride = min((b - a for a, b in pairwise(positions)), default=1.0)
    slots = round((positions[-1] - positions[0]) / stride) + 1
    width = max(1, min(4, area.width // max(1, slots)))
    bars = Rect(area.x, area.y, area.width, area.height - 2)
    for slot in range(min(slots, area.width // width)):
        share = places.get(positions[0] + slot * stride, 0.0) / top
        for column in range(max(1, width - (width > 2))):
            canvas.columns(Rect(bars.x + slot * width + column, bars.y, 1, bars.height), [share], style)
    canvas.put(area.x, bars.y + bars.height, "─" * min(area.width, slots * width), "frame")
    every = max(1, -(-5 // width))
    for slot in range(0, min(slots, area.width // width), every):
        canvas.put(area.x + slot * width, area.y + area.height - 1, f"{positions[0] + slot * stride:g}", "dim")
    note = f"{unit}, {amount(total)} in all"
    if slots * width + len(note) + 2 < area.width:
        canvas.put_right(area.x + area.width, area.y + area.height - 1, note, "dim")


def _is_number(name: str) -> bool:
    return name.replace(".", "", 1).isdigit()
