"""Colours and glyphs. The colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart by people
with any colour vision; what a colour says is also said by a letter, a glyph or a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from rich.color import Color
from rich.style import Style

ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

SERIES = ("line1", "line2", "line3", "line4", "line5", "line6", "line7")
"""Style names of overlaid lines, in their order."""
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Names of overlaid lines where there is no colour."""

HEAT = ("#10202c", "#123a52", "#145478", "#1b6f9c", "#3a8fc0", "#56B4E9", "#9fc99b", "#F0E442")
"""From little to much, rising in lightness."""
HEAT_LIGHT = ("#eef4f8", "#cfe4f2", "#a9d1ea", "#7dbce0", "#4b9fce", "#1f7fb5", "#0b5f90", "#063d5e")


@dataclass(frozen=True)
class Theme:
    """A palette: style name -> foreground, background and attributes."""

    name: str
    background: str
    foreground: str
    colours: Mapping[str, str]

    def style(self, name: str) -> Style:
        """The style of a name; words behind it are attributes, as in `good bold`, and `on NAME` a background."""
        return _style(self.name, name)


_DARK = {
    "": "#c9d1d9", "dim": "#6e7b88", "faint": "#3b4652", "title": "#e6edf3", "frame": "#33414e", "panel": "#161d25",
    "good": "#2fbf93", "warn": ORANGE, "bad": "#ff7a33", "info": SKY, "note": PURPLE,
    "line1": SKY, "line2": ORANGE, "line3": "#2fbf93", "line4": PURPLE, "line5": YELLOW, "line6": "#ff7a33",
    "line7": "#5c9ded", "raw": "#2c5f7d", "band": "#1d3346", "bar": SKY, "bar2": ORANGE, "track": "#242e38",
    "WARMUP": YELLOW, "FULL": SKY, "PREDICT": PURPLE, "CORRECT": ORANGE, "ink": "#0d1117", "paper": "#0d1117",
    "select": "#264f78",
    **{f"heat{place}": colour for place, colour in enumerate(HEAT)},
}  # fmt: skip
_LIGHT = {
    "": "#24292f", "dim": "#6a737d", "faint": "#b9c2cb", "title": "#0d1117", "frame": "#b4bec8", "panel": "#eef2f6",
    "good": "#00785a", "warn": "#a86f00", "bad": "#b44a00", "info": BLUE, "note": "#9a4a77",
    "line1": BLUE, "line2": "#b87a00", "line3": "#00785a", "line4": "#9a4a77", "line5": "#8a8200", "line6": VERMILLION,
    "line7": "#1b6f9c", "raw": "#a9d1ea", "band": "#d6e8f4", "bar": BLUE, "bar2": "#b87a00", "track": "#dfe5ea",
    "WARMUP": "#b5a800", "FULL": SKY, "PREDICT": PURPLE, "CORRECT": ORANGE, "ink": "#0d1117", "paper": "#ffffff",
    "select": "#b6d7f2",
    **{f"heat{place}": colour for place, colour in enumerate(HEAT_LIGHT)},
}  # fmt: skip

DARK = Theme("dark", "#0d1117", _DARK[""], _DARK)
LIGHT = Theme("light", "#ffffff", _LIGHT[""], _LIGHT)
THEMES = {theme.name: theme for theme in (DARK, LIGHT)}


@cache
def _style(theme: str, name: str) -> Style:
    palette = THEMES[theme]
    words, _, back = name.partition(" on ")
    attributes = set(words.split(" ")) & {"bold", "underline"}
    colour = next((word for word in words.split(" ") if word not in attributes), "")
    return Style(
        color=Color.parse(palette.colours[colour]),
        bgcolor=Color.parse(palette.colours[back] if back else palette.background),
        bold="bold" in attributes,
        underline="underline" in attributes,
    )


EIGHTHS = " ▁▂▃▄▅▆▇█"
"""Heights of a bar in a cell."""

_ASCII = str.maketrans(
    {
        "─": "-", "│": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+",
        "╭": "+", "╮": "+", "╰": "+", "╯": "+", "┈": ".", "┊": ":", "╌": "-", "━": "=", "╸": "=", "╺": "=",
        "▁": "_", "▂": "_", "▃": "-", "▄": "-", "▅": "=", "▆": "=", "▇": "#", "█": "#",
        "▏": "|", "▎": "|", "▍": "|", "▌": "=", "▋": "=", "▊": "#", "▉": "#", "▐": "|", "▀": "-",
        "░": ".", "▒": ":", "▓": "%", "●": "*", "○": "o", "◆": "*", "◇": "o", "▲": "^", "▼": "v", "▶": ">", "◀": "<",
        "→": ">", "←": "<", "↑": "^", "↓": "v", "·": ".", "•": "*", "…": "~", "×": "x", "±": "~", "✓": "+", "✗": "x",
        "⏸": "=", "■": "#", "□": "o", "▪": "*", "▫": ".", "–": "-", "—": "-", "°": "o", "σ": "s", "⚠": "!", "≤": "<",
        "≥": ">", "⌁": "~", "∞": "8", "µ": "u",
    }
)  # fmt: skip
_BRAILLE = range(0x2800, 0x2900)


def to_ascii(text: str) -> str:
    """`text` for a terminal without UTF-8: every character becomes one that ASCII has."""
    return "".join(
        char if char < "\x80" else _dots(char) if ord(char) in _BRAILLE else "?" for char in text.translate(_ASCII)
    )


def _dots(char: str) -> str:
    return " .:+**###"[(ord(char) - 0x2800).bit_count()]
