"""A grid of characters with styles, on which every screen is drawn. Knows rectangles, frames, text and bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.cells import cell_len
from rich.segment import Segment

from neat.monitor.format import short
from neat.monitor.theme import EIGHTHS, Theme, to_ascii


class Rect(NamedTuple):
    """Columns [x, x + width) and rows [y, y + height)."""

    x: int
    y: int
    width: int
    height: int

    def holds(self, x: int, y: int) -> bool:
        """Whether a cell lies inside."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height

    def columns(self, *shares: float) -> list[Rect]:
        """Side by side, by share of the width, without a gap."""
        return [Rect(self.x + at, self.y, size, self.height) for at, size in _split(self.width, shares)]

    def rows(self, *shares: float) -> list[Rect]:
        """One below the other, by share of the height; a share of 1 or more is that many rows."""
        fixed = sum(share for share in shares if share >= 1)
        rest = max(0.0, self.height - fixed)
        flexible = [share * rest if share < 1 else share for share in shares]
        return [Rect(self.x, self.y + at, self.width, size) for at, size in _split(self.height, flexible)]


@dataclass
class Canvas:
    """`width` x `height` cells. `hits` are the places that a click acts on, with the name of the action."""

    width: int
    height: int
    hits: list[tuple[Rect, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chars = [[" "] * self.width for _ in range(self.height)]
        self.styles = [[""] * self.width for _ in range(self.height)]

    @property
    def area(self) -> Rect:
        """All of it."""
        return Rect(0, 0, self.width, self.height)

    def put(self, x: int, y: int, text: str, style: str = "", width: int | None = None) -> int:
        """Writes one line of text, cut at `width` cells and at the edge; returns the column behind it."""
        if not 0 <= y < self.height:
            return x
        if not text.isprintable():
            # No file may steer the terminal.
            text = "".join(char if char.isprintable() else "\ufffd" for char in text)
        limit = self.width if width is None else min(self.width, x + width)
        if cells(text) > limit - x:
            text = _cut(text, limit - x)
        chars, styles = self.chars[y], self.styles[y]
        for char in text:
            size = 1 if char < "\u1100" else cell_len(char)
            if size == 0:
                continue
            if x + size > limit:
                break
            if x >= 0:
                chars[x], styles[x] = char, style
                for extra in range(x + 1, x + size):
                    chars[extra], styles[extra] = "", style
            x += size
        return x

    def put_right(self, right: int, y: int, text: str, style: str = "") -> int:
        """Writes text that ends before column `right`; returns its first column."""
        start = right - cells(text)
        self.put(start, y, text, style)
        return start

    def spans(self, x: int, y: int, parts: Sequence[tuple[str, str]], width: int | None = None) -> int:
        """Writes (text, style) pairs behind each other."""
        end = self.width if width is None else x + width
        for text, style in parts:
            if x >= end:
                break
            x = self.put(x, y, text, style, end - x)
        return x

    def fill(self, area: Rect, char: str = " ", style: str = "") -> None:
        """Fills a rectangle."""
        for y in range(max(0, area.y), min(self.height, area.y + area.height)):
            start, stop = max(0, area.x), min(self.width, area.x + area.width)
            self.chars[y][start:stop] = [char] * (stop - start)
            self.styles[y][start:stop] = [style] * (stop - start)

    def frame(self, area: Rect, title: str = "", note: str = "", style: str = "frame") -> Rect:
        """Draws a frame with a title on its upper edge and a note at its right; returns the inside."""
        x, y, width, height = area
        if width < 4 or height < 2:
            return Rect(x, y, max(0, width), max(0, height))
        right, bottom = x + width - 1, y + height - 1
        self.put(x, y, "╭" + "─" * (width - 2) + "╮", style)
        self.put(x, bottom, "╰" + "─" * (width - 2) + "╯", style)
        for row in range(y + 1, bottom):
            self.put(x, row, "│", style)
            self.put(right, row, "│", style)
        end = x + 2
        if title:
            end = self.put(x + 2, y, f" {short(title, width - 6)} ", "title bold")
        if note and end + cells(note) + 4 <= right:
            self.put_right(right - 1, y, f" {note} ", "dim")
        return Rect(x + 2, y + 1, max(0, width - 4), height - 2)

    def bar(self, area: Rect, share: float, style: str = "bar") -> None:
        """A horizontal bar filled to `share`, in halves of a cell."""
        full, rest = divmod(round(max(0.0, min(1.0, share)) * area.width * 2), 2)
        self.put(area.x, area.y, "━" * full + "╸" * rest, style)
        self.put(area.x + full + rest, area.y, "─" * (area.width - full - rest), "faint")

    def columns(self, area: Rect, shares: Sequence[float], style: str = "bar") -> None:
        """Vertical bars, one per cell of the width, in eighths of a cell."""
        for column, share in enumerate(shares[: area.width]):
            eighths = round(max(0.0, min(1.0, share)) * area.height * 8)
            if share > 0 and eighths == 0:
                eighths = 1
            for row in range(area.height):
                level = min(8, max(0, eighths - 8 * row))
                if level:
                    self.put(area.x + column, area.y + area.height - 1 - row, EIGHTHS[level], style)

    def hit(self, area: Rect, action: str) -> None:
        """A click on `area` does `action`."""
        self.hits.append((area, action))

    def action_at(self, x: int, y: int) -> str | None:
        """What a click on a cell does."""
        return next((action for area, action in reversed(self.hits) if area.holds(x, y)), None)

    def lines(self) -> list[str]:
        """The characters alone, without trailing blanks."""
        return ["".join(row).rstrip() for row in self.chars]

    def segments(self, y: int, theme: Theme, *, ascii_only: bool) -> list[Segment]:
        """One row as runs of equal style."""
        found: list[Segment] = []
        chars, styles = self.chars[y], self.styles[y]
        start = 0
        for x in range(1, self.width + 1):
            if x == self.width or styles[x] != styles[start]:
                text = "".join(chars[start:x])
                found.append(Segment(to_ascii(text) if ascii_only else text, theme.style(styles[start])))
                start = x
        return found


def _split(length: int, shares: Sequence[float]) -> list[tuple[int, int]]:
    """Cuts `length` in proportion to `shares`: (start, size) of each part; nothing is lost to rounding."""
    total, passed, start = sum(shares) or 1.0, 0.0, 0
    parts = []
    for share in shares:
        passed += share
        end = min(length, round(passed / total * length) if total else length)
        parts.append((start, max(0, end - start)))
        start = end
    return parts


def cells(text: str) -> int:
    """Columns that a text takes."""
    return len(text) if text.isascii() else cell_len(text)


def _cut(text: str, width: int) -> str:
    """`text` cut to `width` cells, its last one an ellipsis."""
    if width <= 0:
        return ""
    text = text[: width - 1]
    while cells(text) > width - 1:
        text = text[:-1]
    return text + "…"
