"""Images on terminals: which way is taken, and that each way carries the pixels."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from neat.cli.terminal import Kind, detect, shown
from neat.data.png import Pixels, decode_png


def picture(height: int = 6, width: int = 5) -> Pixels:
    """Colours of the 6 x 6 x 6 cube, which every way keeps exactly."""
    return (np.random.default_rng(0).integers(0, 6, (height, width, 3)) * 51).astype(np.uint8)


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-sixel"}, "sixel"),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({"TERM": "dumb"}, "none"),
        ({}, "none"),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, "none"),
    ],
)
def test_the_way_is_found_from_the_environment(environment: dict[str, str], kind: Kind) -> None:
    assert detect(environment, is_terminal=True) == kind
    assert detect(environment, is_terminal=False) == "none"


def test_kitty_gets_the_file_in_chunks() -> None:
    pixels = picture(60, 60)
    pixels[:] = np.random.default_rng(1).integers(0, 256, pixels.shape)
    chunks = re.findall(rb"\x1b_G([^;]*);([^\x1b]*)\x1b\\", shown(pixels, "kitty", {}))
    assert len(chunks) > 1 and all(len(data) <= 4096 for _, data in chunks)
    assert [keys.endswith(b"m=1") for keys, _ in chunks] == [True] * (len(chunks) - 1) + [False]
    png = base64.b64decode(b"".join(data for _, data in chunks))
    assert np.array_equal(decode_png(png, "shown"), pixels)


def test_iterm_gets_the_file_and_its_size() -> None:
    found = re.fullmatch(rb"\x1b\]1337;File=inline=1;size=(\d+);width=16:(.*)\a\n", shown(picture(), "iterm", {}))
    assert found is not None
    png = base64.b64decode(found[2])
    assert len(png) == int(found[1])
    assert np.array_equal(decode_png(png, "shown"), picture())


def test_sixels_give_the_pixels_back() -> None:
    pixels = picture(128, 70)
    found = re.fullmatch(rb'\x1bPq"1;1;70;128((?:#\d+;2;\d+;\d+;\d+)*)(.*)\x1b\\\n', shown(pixels, "sixel", {}))
    assert found is not None
    colours = {int(n): [int(v) for v in rest] for n, *rest in re.findall(rb"#(\d+);2;(\d+);(\d+);(\d+)", found[1])}
    drawn = np.zeros((132, 70, 3), int)
    for band, line in enumerate(found[2].removesuffix(b"-").split(b"-")):
        for number, marks in re.findall(rb"#(\d+)([^#$]*)\$", line):
            for column, mark in enumerate(marks):
                for row in range(6):
                    if (mark - 63) >> row & 1:
                        drawn[6 * band + row, column] = colours[int(number)]
    assert np.array_equal(drawn[:128], pixels.astype(int) * 100 // 255)


def test_half_blocks_hold_two_pixels_each() -> None:
    pixels = picture(5, 4)
    lines = shown(pixels, "blocks", {"COLORTERM": "truecolor"}).decode().splitlines()
    assert len(lines) == 3
    cells = [re.findall(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀", line) for line in lines]
    values = np.array(cells, int).reshape(3, 4, 2, 3).transpose(0, 2, 1, 3).reshape(6, 4, 3)
    assert np.array_equal(values, pixels[[0, 1, 2, 3, 4, 4]])
    assert all(line.endswith("\x1b[0m") for line in lines)
    few = shown(pixels, "blocks", {}).decode()
    steps = (pixels[0, 0].astype(int) // 51) @ [36, 6, 1]
    assert few.startswith(f"\x1b[38;5;{16 + steps};48;5;") and ";2;" not in few


def test_wide_images_are_made_to_fit() -> None:
    line = shown(picture(300, 300), "blocks", {}).decode().splitlines()[0]
    assert 32 <= line.count("▀") <= 64


def test_nothing_is_shown_where_nothing_can_be() -> None:
    assert shown(picture(), "none", {}) == b""
