"""The phase ribbon: which phase the run was in at every step, where it jumped, and why it moved or did not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import short
from neat.monitor.snapshot import Snapshot

PHASES = ("WARMUP", "FULL", "PREDICT", "CORRECT")
_WEIGHT = {"WARMUP": 1.0, "FULL": 1.0, "PREDICT": 40.0, "CORRECT": 4.0}
"""A column shows the phase with most steps in it; the short ones count more, or nobody would ever see them."""


class Span(NamedTuple):
    """A phase, or a window, from step `start` to `stop`."""

    name: str
    start: int
    stop: int


def phase_spans(run: Snapshot) -> list[Span]:
    """The phases of the run so far; empty where hybrid prediction never spoke."""
    moves = [event for event in run.events.get("phase", ()) if event.data.get("accepted", True)]
    if not moves:
        name = run.text("step", "train/phase")
        return [Span(name, 0, max(1, run.step))] if name in PHASES else []
    spans = [Span(str(moves[0].data.get("from")), 0, moves[0].step)]
    ends = [*(event.step for event in moves[1:]), max(run.step, moves[-1].step)]
    spans += [Span(str(event.data.get("to")), event.step, end) for event, end in zip(moves, ends, strict=True)]
    return [span for span in spans if span.name in PHASES]


def window_spans(run: Snapshot) -> list[Span]:
    """The windows of the curriculum so far."""
    stages = [event for event in run.events.get("stage", ()) if event.data.get("train/window") is not None]
    names = [f"window {event.data['train/window']}" for event in stages]
    starts = [0, *(event.step - 1 for event in stages[1:])]
    ends = [*starts[1:], run.step]
    return [Span(*parts) for parts in zip(names, starts, ends, strict=False)]


def draw_ribbon(canvas: Canvas, area: Rect, run: Snapshot) -> None:
    """Up to four rows: phases, jumps, windows, and the newest reason; fewer where there is less room."""
    total = max(run.total or 0, run.step, 1)
    spans = phase_spans(run)
    rows = list(range(area.y, area.y + area.height))
    reason = rows.pop() if len(rows) > 1 else None
    if spans and rows:
        _phases(canvas, Rect(area.x, rows.pop(0), area.width, 1), spans, total)
        if rows and run.events.get("jump"):
            _jumps(canvas, Rect(area.x, rows.pop(0), area.width, 1), run, total)
    if rows:
        _windows(canvas, Rect(area.x, rows.pop(0), area.width, 1), window_spans(run), total)
    if reason is not None:
        canvas.spans(area.x, reason, _reason(run, spans), area.width)


def _phases(canvas: Canvas, area: Rect, spans: Sequence[Span], total: int) -> None:
    names = _dominant(spans, area.width, total)
    start = 0
    for column in range(1, area.width + 1):
        if column == area.width or names[column] != names[start]:
            name = names[start]
            width = column - start
            if name:
                text = name if len(name) + 2 <= width else name[0]
                canvas.fill(Rect(area.x + start, area.y, width, 1), " ", f"ink on {name}")
                canvas.put(area.x + start + max(0, (width - len(text)) // 2), area.y, text, f"ink bold on {name}")
            else:
                canvas.put(area.x + start, area.y, "╌" * width, "faint")
            start = column


def _dominant(spans: Sequence[Span], columns: int, total: int) -> list[str]:
    weights: list[dict[str, float]] = [{} for _ in range(columns)]
    for span in spans:
        first = min(columns - 1, span.start * columns // total)
        last = min(columns - 1, span.stop * columns // total)
        for column in range(first, last + 1):
            low, high = column * total / columns, (column + 1) * total / columns
            part = max(0.0, min(span.stop, high) - max(span.start, low)) + (span.name == "PREDICT") * 0.5
            weights[column][span.name] = weights[column].get(span.name, 0.0) + part * _WEIGHT[span.name]
    return [max(found, key=lambda name: found[name]) if any(found.values()) else "" for found in weights]


def _jumps(canvas: Canvas, area: Rect, run: Snapshot, total: int) -> None:
    for event in run.events["jump"]:
        column = min(area.width - 1, event.step * area.width // total)
        accepted = bool(event.data.get("accepted"))
        if accepted or canvas.chars[area.y][area.x + column] == " ":
            canvas.put(area.x + column, area.y, "▲" if accepted else "×", "good" if accepted else "dim")
    for event in run.events.get("rollback", ()):
        canvas.put(area.x + min(area.width - 1, event.step * area.width // total), area.y, "▼", "bad bold")


def _windows(canvas: Canvas, area: Rect, spans: Sequence[Span], total: int) -> None:
    for place, span in enumerate(spans):
        start, stop = span.start * area.width // total, span.stop * area.width // total
        if stop > start:
            canvas.put(area.x + start, area.y, "─" * (stop - start), "frame")
            canvas.put(area.x + start, area.y, "├" if place else "─", "frame")
            canvas.put(area.x + start + 1, area.y, f" {span.name} ", "dim", stop - start - 1)


def _reason(run: Snapshot, spans: Sequence[Span]) -> list[tuple[str, str]]:
    event = run.latest("phase")
    if event is None:
        if not spans:
            return [("hybrid prediction is off: every step is a real gradient", "dim")]
        return [(spans[-1].name, f"{_ink(spans[-1].name)} bold"), (" since the beginning", "dim")]
    accepted = bool(event.data.get("accepted", True))
    to = str(event.data.get("to", "?"))
    word = f"{to} since step {event.step}" if accepted else f"{to} refused at step {event.step}"
    colour = _ink(to) if accepted else "warn"
    return [(word, f"{colour} bold"), (": " + short(str(event.data.get("reason", "")), 400), "")]


def _ink(name: str) -> str:
    return name if name in PHASES else ""
