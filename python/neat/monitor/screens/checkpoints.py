"""Checkpoints and uploads: what was saved when, how long it took, and how exports travel to the Hub."""

from __future__ import annotations

import time

from neat.events.schema import Event
from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import duration, number, short, size
from neat.monitor.screens.base import Context, Screen, message
from neat.monitor.snapshot import Snapshot

_STATES = {"queued": "dim", "started": "info", "retry": "warn", "done": "good", "failed": "bad", "conflict": "bad"}


class Checkpoints(Screen):
    """Two tables."""

    name = "checkpoints"

    def draw(self, canvas: Canvas, context: Context) -> None:
        """Checkpoints above, uploads and requests below."""
        run = context.run
        rows = canvas.area.rows(0.5, 0.5)
        self._checkpoints(canvas, rows[0], run)
        if canvas.width >= 110:
            lower = rows[1].columns(0.6, 0.4)
            self._uploads(canvas, lower[0], run)
            self._requests(canvas, lower[1], run)
        else:
            self._uploads(canvas, rows[1], run)

    def _checkpoints(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        events = run.events.get("checkpoint", ())
        kept = _setting(run, "checkpoint", "keep")
        inside = canvas.frame(area, "Checkpoints", f"{len(events)} written, the newest {kept} are kept")
        if not events:
            message(canvas, inside, ["no checkpoint yet; the first comes after step 1"])
            return
        canvas.put(
            inside.x, inside.y, f"{'step':>9}  {'written':<19}  {'size':>10}  {'took':>8}  folder", "dim", inside.width
        )
        self.offset = max(0, min(self.offset, len(events) - inside.height + 1))
        shown = tuple(reversed(events))[self.offset : self.offset + inside.height - 1]
        for row, event in enumerate(shown, 1):
            took = event.data.get("save_s")
            text = f"{number(float(took), 3)} s" if isinstance(took, int | float) else "n/a"
            written = event.data.get("bytes")
            total = size(float(written)) if isinstance(written, int | float) else "n/a"
            newest = "good" if event is events[-1] else ""
            line = f"{event.step:>9}  {_when(event.time)}  {total:>10}  {text:>8}  {event.data.get('path', '')}"
            canvas.put(inside.x, inside.y + row, line, newest, inside.width)

    def _uploads(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        events = run.events.get("upload", ())
        inside = canvas.frame(area, "Uploads", run.text("upload", "repo"))
        if not events:
            message(canvas, inside, ["nothing was uploaded from this run"])
            return
        for row, event in enumerate(tuple(reversed(events))[: inside.height]):
            canvas.spans(inside.x, inside.y + row, _upload(event), inside.width)

    def _requests(self, canvas: Canvas, area: Rect, run: Snapshot) -> None:
        events = run.events.get("request", ())
        inside = canvas.frame(area, "Requests", "w save  p pause  S stop  m note" if run.writable else "read only")
        if not events:
            message(canvas, inside, ["nobody asked the run for anything"])
            return
        for row, event in enumerate(tuple(reversed(events))[: inside.height]):
            done = event.data.get("outcome") == "done"
            text = short(str(event.data.get("text", "")), 200)
            parts = [(f"{event.step:>8} ", "dim"), (f"{event.data.get('request', '?')} ", "title bold")]
            parts += [(f"{event.data.get('outcome', '?')} ", "good" if done else "warn"), (text, "")]
            canvas.spans(inside.x, inside.y + row, parts, inside.width)


def _upload(event: Event) -> list[tuple[str, str]]:
    data, state = event.data, str(event.data.get("state", "?"))
    amount = data.get("bytes")
    parts = [(f"{data.get('checkpoint')!s:>9}  ", "dim"), (f"{state:<9}", f"{_STATES.get(state, '')} bold")]
    if isinstance(amount, int | float):
        parts.append((f"{size(float(amount)):>10}  ", ""))
    if data.get("attempt"):
        parts.append((f"attempt {data['attempt']}  ", "dim"))
    wait = data.get("wait_s")
    if isinstance(wait, int | float):
        parts.append((f"again in {duration(float(wait))}  ", "warn"))
    commit = str(data.get("commit") or "")[:10]
    return [*parts, (commit, "info"), (" " + short(str(data.get("reason") or ""), 200), "")]


def _setting(run: Snapshot, section: str, key: str) -> str:
    table = run.settings.get(section)
    return str(table.get(key, "?")) if isinstance(table, dict) else "?"


def _when(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return "n/a".ljust(19)
