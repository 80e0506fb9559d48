"""What surrounds every screen: the state of the run and the tabs above, the keys below."""

from __future__ import annotations

from neat.monitor.bindings import SHORT, TITLES, usable
from neat.monitor.canvas import Canvas, Rect
from neat.monitor.format import duration, percent, short
from neat.monitor.screens.base import Context, Screen, wrapped
from neat.monitor.snapshot import Snapshot
from neat.monitor.theme import LETTERS, SERIES

MIN_WIDTH, MIN_HEIGHT = 60, 18
"""The smallest terminal that a screen is drawn on."""
HEAD_ROWS, FOOT_ROWS = 2, 1

_STATES = {
    "waiting": ("○", "info"), "running": ("●", "good"), "paused": ("⏸", "warn"), "silent": ("●", "warn"),
    "finished": ("✓", "good"), "stopped": ("■", "info"), "failed": ("✗", "bad"), "gone": ("✗", "bad"),
}  # fmt: skip


def draw_all(canvas: Canvas, screen: Screen, context: Context) -> None:
    """The head, the screen and the foot; a sentence where the terminal is too small."""
    if canvas.width < MIN_WIDTH or canvas.height < MIN_HEIGHT:
        text = f"the monitor needs {MIN_WIDTH} x {MIN_HEIGHT} characters, this is {canvas.width} x {canvas.height}"
        for row, line in enumerate(wrapped(text, canvas.width)):
            canvas.put(0, row, line)
        return
    _head(canvas, context)
    _tabs(canvas, Rect(0, 1, canvas.width, 1), screen.name)
    body = Canvas(canvas.width, canvas.height - HEAD_ROWS - FOOT_ROWS)
    screen.draw(body, context)
    canvas.chars[HEAD_ROWS : canvas.height - FOOT_ROWS] = body.chars
    canvas.styles[HEAD_ROWS : canvas.height - FOOT_ROWS] = body.styles
    for area, action in body.hits:
        canvas.hit(Rect(area.x, area.y + HEAD_ROWS, area.width, area.height), f"screen:{action}")
    _foot(canvas, screen.name, context)


def _head(canvas: Canvas, context: Context) -> None:
    run = context.run
    canvas.fill(Rect(0, 0, canvas.width, 1), " ", "title on panel")
    glyph, style = _STATES[run.health.state]
    x = canvas.put(0, 0, " NEAT ", "paper bold on bar")
    if len(context.snapshots) > 1:
        letter = LETTERS[context.front % len(LETTERS)]
        x = canvas.put(x, 0, f" {letter}", f"{SERIES[context.front % len(SERIES)]} bold on panel")
    x = canvas.put(x, 0, f" {short(run.name, max(8, canvas.width // 4))} ", "title bold on panel")
    x = canvas.put(x, 0, f" {glyph} {run.health.state} ", f"{style} bold on panel")
    right = _right(run, canvas.width)
    start = canvas.width - len(right) - 1
    canvas.put(start, 0, right, "warn bold on panel" if run.cursor is not None else "title on panel")
    room = start - x - 2
    if room > 12:
        canvas.put(x + 1, 0, short(_news(run), room), "dim on panel")


def _right(run: Snapshot, width: int) -> str:
    if run.cursor is not None:
        return f"as of step {run.cursor:,}"
    if not run.total:
        return f"step {run.step:,}"
    share = percent(run.step / run.total)
    return f"step {run.step:,}/{run.total:,}  {share}" if width >= 70 else f"{run.step:,}/{run.total:,} {share}"


def _news(run: Snapshot) -> str:
    if run.trouble:
        return run.trouble
    if run.loaded < 1:
        return f"reading the history: {run.loaded * 100:.0f} %"
    if run.health.state == "running":
        return f"heartbeat {duration(run.health.age_s)} ago"
    return run.health.text


def _tabs(canvas: Canvas, area: Rect, current: str) -> None:
    """All titles where they fit, otherwise numbers and the title of the current screen."""
    full = sum(len(title) + 5 for title in TITLES.values()) <= area.width
    brief = {name: SHORT.get(name, title) for name, title in TITLES.items()}
    some = sum(len(title) + 3 for title in brief.values()) <= area.width
    canvas.fill(area, " ", "dim on panel")
    x = area.x
    for place, (name, title) in enumerate(TITLES.items(), 1):
        text = f" {place} {title} " if full or name == current else f" {place} {brief[name]}" if some else f" {place} "
        if name == current and not full:
            text = f" {place} {brief[name]}" + ("" if some else " ")
        style = "title bold on select" if name == current else "dim on panel"
        end = canvas.put(x, area.y, text, style)
        canvas.hit(Rect(x, area.y, end - x, 1), f"show:{name}")
        x = end + (1 if full else 0)


def _foot(canvas: Canvas, screen: str, context: Context) -> None:
    y = canvas.height - 1
    canvas.fill(Rect(0, y, canvas.width, 1), " ", "dim on panel")
    run = context.run
    acts = run.writable and run.cursor is None and run.health.alive
    keys = [key for key in usable(screen, acts=acts, runs=len(context.snapshots)) if key.label]
    # What always helps comes last and is never cut.
    last = [key for key in keys if key.label in {"help", "quit"}]
    tail = sum(len(_key_text(key.shown, key.label)) for key in last)
    x = 0
    for key in [key for key in keys if key not in last]:
        text = _key_text(key.shown, key.label)
        if x + len(text) > canvas.width - tail:
            break
        x = _put_key(canvas, x, y, key.shown, key.label, key.action)
    x = canvas.width - tail
    for key in last:
        x = _put_key(canvas, x, y, key.shown, key.label, key.action)


def _key_text(shown: str, label: str) -> str:
    return f" {shown.split(' ')[0]} {label} "


def _put_key(canvas: Canvas, x: int, y: int, shown: str, label: str, action: str) -> int:
    end = canvas.put(x + 1, y, shown.split(" ")[0], "info bold on panel")
    end = canvas.put(end, y, f" {label} ", "dim on panel")
    canvas.hit(Rect(x, y, end - x, 1), f"do:{action}")
    return end
