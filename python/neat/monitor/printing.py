"""One screen as text or as SVG, without a terminal: for scripts, mails, documentation and tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from neat.errors import NeatError, UsageError
from neat.monitor.canvas import Canvas
from neat.monitor.follow import Follower
from neat.monitor.frame import MIN_HEIGHT, MIN_WIDTH, draw_all
from neat.monitor.looking import Looking
from neat.monitor.screens import all_screens
from neat.monitor.screens.base import Context
from neat.monitor.svg import as_svg
from neat.monitor.theme import THEMES, to_ascii

MAX_SIDE = 1000
"""Characters of a printed screen in either direction."""


def parse_size(text: str) -> tuple[int, int]:
    """Width and height in `100x30`; raises `UsageError` for anything else."""
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (MIN_WIDTH <= width <= MAX_SIDE and MIN_HEIGHT <= height <= MAX_SIDE):
        raise UsageError(
            f"{text[:40]} is not the size of a screen",
            hint=f"write it as 100x30, from {MIN_WIDTH}x{MIN_HEIGHT} to {MAX_SIDE}x{MAX_SIDE}",
        )
    return width, height


def drawn(followers: Sequence[Follower], screen: str, width: int, height: int) -> Canvas:
    """A screen of runs that were read before."""
    context = Context([follower.snapshot() for follower in followers], 0, Looking().looks, followers[0].lines_at)
    canvas = Canvas(width, height)
    draw_all(canvas, all_screens()[screen], context)
    return canvas


def as_text(canvas: Canvas, *, ascii_only: bool = False) -> str:
    """The characters, one line a row."""
    text = "\n".join(canvas.lines()) + "\n"
    return to_ascii(text) if ascii_only else text


def write(canvas: Canvas, output: Path, theme: str, title: str) -> None:
    """Writes a screen as text, or as SVG where the name says so.

    Raises:
        NeatError: The file cannot be written.
    """
    content = as_svg(canvas, THEMES[theme], title) if output.suffix.lower() == ".svg" else as_text(canvas)
    try:
        output.write_text(content, encoding="utf-8")
    except OSError as error:
        raise NeatError(f"cannot write {output}: {error.strerror or error}") from error
