"""Help: the table of keys, what the colours and glyphs say, and where the run is."""

from __future__ import annotations

from neat.monitor.bindings import KEYS, Key
from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import short
from neat.monitor.screens.base import Context, Screen
from neat.monitor.snapshot import Snapshot

_GROUPS = {
    "screens": "Screens", "charts": "Charts and lists", "replay": "Replay", "the run": "The run",
    "the monitor": "The monitor",
}  # fmt: skip
_TWO_COLUMNS = 130


_KEY_WIDTH = 8


class Help(Screen):
    """Rendered from the same table as the bindings."""

    name = "help"

    def draw(self, canvas: Canvas, context: Context) -> None:
        """One column of keys, or two where they fit."""
        rows = list(_rows(context.run))
        area = Rect(1, 0, canvas.width - 2, canvas.height)
        columns = 2 if canvas.width >= _TWO_COLUMNS else 1
        width = area.width // columns
        per_page = area.height * columns
        self.offset = max(0, min(self.offset, len(rows) - per_page))
        for place, (left, right, style) in enumerate(rows[self.offset : self.offset + per_page]):
            column, row = divmod(place, area.height)
            x = area.x + column * width
            if not right:
                canvas.put(x, row, left, style, width - 1)
            else:
                canvas.put(x, row, left, style, _KEY_WIDTH)
                canvas.put(x + _KEY_WIDTH + 1, row, right, "", width - _KEY_WIDTH - 2)


def _rows(run: Snapshot) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for group, title in _GROUPS.items():
        rows.append((title, "", "title bold"))
        rows += [_row(key) for key in KEYS if key.group == group]
        rows.append(("", "", ""))
    rows += [
        ("Signs", "", "title bold"),
        ("▲ × ▼", "jump accepted, jump refused, rolled back", "good"),
        ("▪ ◆", "a checkpoint; held-out text, averaged weights", "good"),
        ("░", "forecast of the loss, mean ± 2 σ", "info"),
        ("A B C", "several runs in one chart, in the order of the command line", "line2"),
        ("", "", ""),
        ("This run", "", "title bold"),
        ("place", short(run.place, 200), "dim"),
        ("command", short(" ".join(map(str, _command(run))), 300), "dim"),
        ("health", short(run.health.text, 200), "dim"),
        (
            "file",
            f"{sum(run.counts.values()):,} events, {run.bad_lines} bad lines, {run.unknown} of unknown types",
            "dim",
        ),
    ]
    if not run.writable:
        rows.append(("read only", "the keys of “The run” need the run directory on this machine", "warn"))
    return rows


def _row(key: Key) -> tuple[str, str, str]:
    return (key.shown, key.text, "info bold")


def _command(run: Snapshot) -> list[object]:
    command = run.record.get("command")
    return command if isinstance(command, list) else ["n/a"]
