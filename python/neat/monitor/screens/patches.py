"""Text with its patches: neighbours have different shades, and a bar stands where one begins if there is no colour."""

from __future__ import annotations

from bisect import bisect_right

from neat.events.schema import Event
from neat.monitor.canvas import Canvas, Rect

_SHADES = ("title on panel", "title on select")


def draw_patches(canvas: Canvas, area: Rect, event: Event, offset: int) -> int:
    """Draws the prompt and the text of a `sample` event from line `offset` on; returns how many lines there are."""
    prompt, text = str(event.data.get("prompt", "")), str(event.data.get("text", ""))
    starts = event.data.get("patch_starts")
    places = sorted(place for place in starts if isinstance(place, int)) if isinstance(starts, list) else None
    whole = prompt + text
    lines = _lines(whole, max(1, area.width))
    for row, (start, stop) in enumerate(lines[offset : offset + area.height]):
        for column, place in enumerate(range(start, stop)):
            char = whole[place]
            char = char if char.isprintable() else "·"
            canvas.put(area.x + column, area.y + row, char, _style(place, len(prompt), places))
    return len(lines)


def _style(place: int, prompt: int, starts: list[int] | None) -> str:
    if starts is None:
        return "" if place < prompt else "title bold"
    number = bisect_right(starts, place)
    back = _SHADES[number % 2].partition(" on ")[2]
    attribute = " underline" if number and starts[number - 1] == place else ""
    return f"{'' if place < prompt else 'title bold'}{attribute} on {back}"


def _lines(text: str, width: int) -> list[tuple[int, int]]:
    """Ranges of characters, broken at newlines and at the width; wide characters count twice."""
    lines, start, used = [], 0, 0
    for place, char in enumerate(text):
        size = 2 if "\u1100" <= char < "\ufffd" else 1
        if char == "\n" or used + size > width:
            lines.append((start, place))
            start, used = (place + 1, 0) if char == "\n" else (place, size)
        else:
            used += size
    return [*lines, (start, len(text))]
