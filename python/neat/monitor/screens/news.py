"""What needs a person, and what happened last: the panel of alerts on the first screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from neat.events.schema import Data
from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import number, short
from neat.monitor.snapshot import Snapshot

Row = tuple[str, str]


def draw_news(canvas: Canvas, area: Rect, run: Snapshot) -> None:
    """What is wrong with the run or its file, the newest alerts, and, where there is room, what happened last."""
    rows = [*_wrong(run), *_alerts(run)] or [("✓ nothing needs attention", "good")]
    if area.height > len(rows) + 2:
        rows += [("", ""), *_happened(run)]
    for y, (text, style) in enumerate(rows[: area.height], area.y):
        canvas.put(area.x, y, short(text, 500), style, area.width)


def _wrong(run: Snapshot) -> list[Row]:
    rows = []
    if run.trouble:
        rows.append((f"✗ {run.trouble}", "bad"))
    if run.health.state in {"gone", "failed", "silent"}:
        rows.append((f"✗ {run.health.text}", "bad"))
    if run.bad_lines:
        rows.append((f"⚠ {run.bad_lines} lines of the events file are no events", "warn"))
    return rows


def _alerts(run: Snapshot) -> list[Row]:
    return [
        (
            f"⚠ {alert.step}: " + ("" if alert.kind == "event" else f"{alert.kind}: ") + alert.message,
            "bad" if alert.severity == "error" else "warn",
        )
        for alert in reversed(run.alerts)
    ]


def _happened(run: Snapshot) -> list[Row]:
    events = [event for kind in _TOLD for event in run.events.get(kind, ())[-8:]]
    events.sort(key=lambda event: event.seq, reverse=True)
    return [(f"{event.step}: {_TOLD[event.type](event.data)}", "dim") for event in events]


def _evaluated(data: Data) -> str:
    value = data.get("eval/bpb", data.get("eval/accuracy"))
    return f"held-out {number(float(value))}" if isinstance(value, int | float) else "evaluated"


def _asked(data: Data) -> str:
    return f"{data.get('request', '')} {data.get('outcome', '')} {data.get('text', '')}"


def _switched(data: Data) -> str:
    return f"{data.get('component', '')} {'on' if data.get('on') else 'off'}: {data.get('reason', '')}"


_TOLD: Mapping[str, Callable[[Data], str]] = MappingProxyType(
    {
        "eval": _evaluated,
        "checkpoint": lambda data: f"saved {data.get('path', '')}",
        "upload": lambda data: f"upload of {data.get('checkpoint', '?')} {data.get('state', '')}",
        "request": _asked,
        "activation": _switched,
        "budget": lambda data: f"length is now {data.get('total_steps', '?')} steps",
        "resume": lambda data: "went on from here",
        "growth": lambda data: f"grown from {data.get('from', '')}, {data.get('method', '')}",
        "rollback": lambda data: f"rolled back: {data.get('reason', '')}",
        "probe": lambda data: f"probe of {data.get('name', '')}: {data.get('outcome', '')}",
        "sample": lambda data: "wrote a sample",
    }
)
"""What the newest events of these types say in a few words."""
