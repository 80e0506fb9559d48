"""Log: every line of the events in words, read from the file where it stands, so that its length does not matter."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from neat.events.schema import TYPES, Event, MalformedEventError, decode
from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import number, short
from neat.monitor.screens.base import NARROW, Context, Screen, message

_STYLES = {
    "alert": "warn", "end": "title bold", "run": "title bold", "resume": "info", "phase": "info", "jump": "good",
    "rollback": "bad", "eval": "line2", "sample": "line4", "checkpoint": "good", "request": "note", "upload": "note",
    "heartbeat": "faint", "system": "faint",
}  # fmt: skip
_QUIET = frozenset({"heartbeat", "system"})
_SEARCHED = 4000
"""Lines that a filter looks through, from the newest on."""
_FIRST = ("train/bpb", "train/loss", "eval/bpb", "optim/lr", "reason", "message", "path", "text", "state", "outcome")


class Log(Screen):
    """`kind` is the only type shown; empty shows all but heartbeats and system events; `*` everything."""

    name = "log"

    def __init__(self) -> None:
        super().__init__()
        self.kind = ""
        self.alerts = False
        self._known: tuple[object, ...] = ()
        self._found: list[int] = []

    def draw(self, canvas: Canvas, context: Context) -> None:
        """The newest lines at the bottom; `offset` counts lines from there."""
        run = context.run
        if self.alerts:
            self._alerts(canvas, context)
            return
        shown = self.kind or "all but heartbeat, system"
        note = f"{sum(run.counts.values()):,} events" + (f", {run.bad_lines} bad lines" if run.bad_lines else "")
        note += f", {run.unknown} of unknown types" if run.unknown else ""
        title = f"Log: {'everything' if shown == '*' else shown}" + (f" matching {self.filter}" if self.filter else "")
        inside = canvas.frame(canvas.area, title, note, "warn" if run.bad_lines else "frame")
        offsets = self._offsets(context)
        self.offset = max(0, min(self.offset, len(offsets) - inside.height))
        end = len(offsets) - self.offset
        lines = context.lines_at(list(offsets[max(0, end - inside.height) : end]))
        for row, line in enumerate(lines):
            _draw_line(canvas, Rect(inside.x, inside.y + row, inside.width, 1), line)
        if not lines:
            message(canvas, inside, ["nothing to show"])

    def scroll(self, lines: int) -> None:
        """Up goes to older lines."""
        self.offset = max(0, self.offset - lines)

    def click(self, action: str) -> None:
        """`type` shows the next type, `alerts` switches alerts on or off."""
        self.offset = 0
        if action == "alerts":
            self.alerts = not self.alerts
            return
        kinds = ["", "*", *TYPES]
        self.kind = kinds[(kinds.index(self.kind) + 1) % len(kinds)]
        self.alerts = False

    def _offsets(self, context: Context) -> list[int]:
        run = context.run
        types = frozenset(TYPES) if self.kind == "*" else frozenset({self.kind} if self.kind else TYPES.keys() - _QUIET)
        with run.store.lock:
            found = run.course.log.matching(types if self.kind != "*" else frozenset())
            if not self.filter and run.cursor is None:
                return list(found[-10_000_000:]) if self.offset else list(found[-(self.offset + 400) :])
            recent = list(found[-_SEARCHED:])
        key = (id(run.course), run.version, self.kind, self.filter, run.cursor)
        if key != self._known:
            self._known = key
            pairs = zip(recent, context.lines_at(recent), strict=True)
            self._found = [offset for offset, line in pairs if _matches(line, self.filter, run.cursor)]
        return self._found

    def _alerts(self, canvas: Canvas, context: Context) -> None:
        run = context.run
        inside = canvas.frame(canvas.area, "Alerts", f"{len(run.alerts)}")
        if not run.alerts:
            message(canvas, inside, ["✓ no alert"])
        end = len(run.alerts) - max(0, min(self.offset, len(run.alerts) - inside.height))
        for row, alert in enumerate(run.alerts[max(0, end - inside.height) : end]):
            style = "bad" if alert.severity == "error" else "warn"
            kind = alert.severity if alert.kind == "event" else alert.kind
            parts = [(f"{_clock(alert.time)} ", "faint"), (f"{alert.step:>8} ", "dim"), (f"{kind}: ", f"{style} bold")]
            canvas.spans(inside.x, inside.y + row, [*parts, (short(alert.message, 400), "")], inside.width)


def _draw_line(canvas: Canvas, area: Rect, line: bytes) -> None:
    try:
        event = decode(line)
    except MalformedEventError as error:
        canvas.put(area.x, area.y, f"✗ {error}: {short(line[:200].decode(errors='replace'), 200)}", "bad", area.width)
        return
    style = _STYLES.get(event.type, "")
    clock = f"{_clock(event.time)} " if area.width >= NARROW - 6 else ""
    parts = [
        (clock, "faint"),
        (f"{event.step:>7} ", "dim"),
        (f"{event.type:<11}", f"{style} bold" if style else "bold"),
    ]
    told = [(short(text, 400) + " ", look) for text, look in words(event)]
    canvas.spans(area.x, area.y, [*parts, *told], area.width)


def words(event: Event) -> list[tuple[str, str]]:
    """The data of an event in words and their styles, what matters most first."""
    data = dict(event.data)
    if event.type == "phase":
        moved = "to" if data.pop("accepted", True) else "stays; refused"
        return [(f"{data.pop('from', '')} {moved} {data.pop('to', '')}: {data.pop('reason', '')}", "")]
    ordered = sorted(data.items(), key=lambda item: _FIRST.index(item[0]) if item[0] in _FIRST else len(_FIRST))
    return [pair for name, value in ordered for pair in ((name, "dim"), (_value(value), "title"))]


def _value(value: object) -> str:
    match value:
        case bool() | None | str():
            return str(value)
        case int() | float():
            return number(float(value)) if abs(value) < 1e300 else "?"
        case list():
            return "[" + ", ".join(_value(item) for item in value[:8]) + (", …]" if len(value) > 8 else "]")
        case Mapping():
            return "{" + ", ".join(f"{key} {_value(item)}" for key, item in list(value.items())[:8]) + "}"
    return str(value)


def _matches(line: bytes, pattern: str, cursor: int | None) -> bool:
    text = line.decode(errors="replace")
    try:
        found = re.search(pattern, text) is not None
    except re.error:
        found = pattern in text
    if not found or cursor is None:
        return found
    try:
        return decode(line).step <= cursor
    except MalformedEventError:
        return False


def _clock(seconds: float) -> str:
    try:
        return time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "??:??:??"
