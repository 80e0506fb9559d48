"""A canvas as an SVG picture. Dots, blocks and frames are shapes, so that no font can disturb them; words are text.

The picture loads nothing from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from rich.style import Style

from neat.monitor.canvas import Canvas
from neat.monitor.theme import EIGHTHS, Theme

CELL_WIDTH, CELL_HEIGHT, FONT_SIZE = 8.4, 18.0, 14.0
MARGIN, BAR_HEIGHT = 12.0, 30.0
_FONT = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
_LINE_WIDTH = 1.2

_ARMS = {
    "─": "lr", "│": "ud", "┌": "rd", "┐": "ld", "└": "ru", "┘": "lu", "├": "urd", "┤": "uld", "┬": "lrd", "┴": "lru",
    "┼": "lrud", "╭": "rd", "╮": "ld", "╰": "ru", "╯": "lu",
}  # fmt: skip
_WORD = re.compile(r"\S+(?: \S+)*")


def as_svg(canvas: Canvas, theme: Theme, title: str) -> str:
    """The picture of a canvas in a window with a title."""
    width = canvas.width * CELL_WIDTH + 2 * MARGIN
    height = canvas.height * CELL_HEIGHT + BAR_HEIGHT + MARGIN
    frame, dim = theme.colours["frame"], theme.colours["dim"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>text{{font:{FONT_SIZE:g}px {_FONT};white-space:pre}}.b{{font-weight:bold}}</style>",
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{theme.background}" stroke="{frame}"/>',
        *(f'<circle cx="{20 + 18 * place}" cy="15" r="5" fill="{frame}"/>' for place in range(3)),
        f'<text x="{width / 2:g}" y="20" text-anchor="middle" fill="{dim}">{escape(title)}</text>',
        f'<g transform="translate({MARGIN:g},{BAR_HEIGHT:g})">',
    ]
    shapes: dict[str, list[str]] = {}
    strokes: dict[str, list[str]] = {}
    words: list[str] = []
    for y in range(canvas.height):
        for x, text, style in _runs(canvas, y, theme):
            if style.bgcolor is not None and style.bgcolor.name != theme.background:
                parts.append(_rect(x, y, len(text), style.bgcolor.name))
            colour = str(style.color.name if style.color else theme.foreground)
            plain = "".join(
                " "
                if _shape(char, x + place, y, shapes.setdefault(colour, []), strokes.setdefault(colour, []))
                else char
                for place, char in enumerate(text)
            )
            words += _text(plain, x, y, style, colour)
    parts += [f'<path fill="{colour}" d="{"".join(paths)}"/>' for colour, paths in shapes.items() if paths]
    parts += [
        f'<path fill="none" stroke="{colour}" stroke-width="{_LINE_WIDTH}" d="{"".join(paths)}"/>'
        for colour, paths in strokes.items()
        if paths
    ]
    return "\n".join([*parts, *words, "</g>", "</svg>"]) + "\n"


def _runs(canvas: Canvas, y: int, theme: Theme) -> Iterator[tuple[int, str, Style]]:
    """(column, characters, style) of equal style; the cell behind a wide character is a blank."""
    chars, styles = canvas.chars[y], canvas.styles[y]
    start = 0
    for x in range(1, canvas.width + 1):
        if x == canvas.width or styles[x] != styles[start]:
            yield start, "".join(char or " " for char in chars[start:x]), theme.style(styles[start])
            start = x


def _rect(x: int, y: int, cells: int, colour: str) -> str:
    left, top, width = x * CELL_WIDTH, y * CELL_HEIGHT, cells * CELL_WIDTH + 0.2
    return f'<rect x="{left:.1f}" y="{top:g}" width="{width:.1f}" height="{CELL_HEIGHT:g}" fill="{colour}"/>'


def _text(plain: str, x: int, y: int, style: Style, colour: str) -> Iterator[str]:
    kind = ' class="b"' if style.bold else ""
    for match in _WORD.finditer(plain):
        left, base = (x + match.start()) * CELL_WIDTH, y * CELL_HEIGHT + 13.5
        length = len(match[0]) * CELL_WIDTH
        place = f'x="{left:.1f}" y="{base:g}" textLength="{length:.1f}"'
        yield f'<text {place} fill="{colour}"{kind}>{escape(match[0])}</text>'


def _shape(char: str, x: int, y: int, fills: list[str], strokes: list[str]) -> bool:
    """Draws a character that is a shape; false for one that is text."""
    left, top = x * CELL_WIDTH, y * CELL_HEIGHT
    middle, centre = left + CELL_WIDTH / 2, top + CELL_HEIGHT / 2
    if "\u2800" <= char < "\u2900":
        fills += _braille(ord(char) - 0x2800, left, top)
    elif char in EIGHTHS and char != " ":
        share = EIGHTHS.index(char) / 8
        fills.append(_box(left, top + CELL_HEIGHT * (1 - share), CELL_WIDTH + 0.15, CELL_HEIGHT * share))
    elif char in "━╸":
        fills.append(_box(left, centre - 2, CELL_WIDTH / (2 if char == "╸" else 1) + 0.15, 4))
    elif char in _ARMS:
        strokes.append(_arms(char, left, top, middle, centre))
    elif char in "┈╌":
        strokes += [f"M{left + at:.1f} {centre:.1f}h1.4" for at in (0.7, 3.5, 6.3)]
    elif char == "┊":
        strokes += [f"M{middle:.1f} {top + at:.1f}v2" for at in (1, 5.5, 10, 14.5)]
    elif char == "░":
        fills += [
            _box(left + dx, top + dy, 1.3, 1.3)
            for dy in (1.5, 6, 10.5, 15)
            for dx in ((0.8, 5.0) if dy in (1.5, 10.5) else (2.9, 7.1))
        ]
    elif char in "▲▼":
        tip, base = (top + 4, top + 14) if char == "▲" else (top + 14, top + 4)
        fills.append(f"M{middle:.1f} {tip:.1f}L{left + 7.6:.1f} {base:.1f}H{left + 0.8:.1f}Z")
    elif char in "◆●■▪":
        reach = {"◆": 4.0, "●": 3.3, "■": 3.4, "▪": 2.2}[char]
        fills.append(_blob(char, middle, centre, reach))
    else:
        return False
    return True


def _box(left: float, top: float, width: float, height: float) -> str:
    return f"M{left:.1f} {top:.1f}h{width:.2f}v{height:.1f}h{-width:.2f}z"


def _blob(char: str, x: float, y: float, reach: float) -> str:
    if char == "◆":
        return f"M{x:.1f} {y - reach:.1f}l{reach} {reach}l{-reach} {reach}l{-reach} {-reach}z"
    if char == "●":
        return f"M{x - reach:.1f} {y:.1f}a{reach} {reach} 0 1 0 {2 * reach} 0a{reach} {reach} 0 1 0 {-2 * reach} 0z"
    return _box(x - reach, y - reach, 2 * reach, 2 * reach)


def _braille(bits: int, left: float, top: float) -> Iterator[str]:
    for bit, (column, row) in enumerate(((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))):
        if bits >> bit & 1:
            x, y = left + CELL_WIDTH * (0.25 + column / 2), top + CELL_HEIGHT * (0.125 + row / 4)
            yield f"M{x - 1.3:.1f} {y:.1f}a1.3 1.3 0 1 0 2.6 0a1.3 1.3 0 1 0 -2.6 0z"


def _arms(char: str, left: float, top: float, middle: float, centre: float) -> str:
    right, bottom = left + CELL_WIDTH, top + CELL_HEIGHT
    if char in "╭╮╰╯":
        side = right if "r" in _ARMS[char] else left
        end = bottom if "d" in _ARMS[char] else top
        return f"M{side:.1f} {centre:.1f}Q{middle:.1f} {centre:.1f} {middle:.1f} {end:.1f}"
    ends = {"l": (left, centre), "r": (right, centre), "u": (middle, top), "d": (middle, bottom)}
    return "".join(f"M{middle:.1f} {centre:.1f}L{ends[arm][0]:.1f} {ends[arm][1]:.1f}" for arm in _ARMS[char])
