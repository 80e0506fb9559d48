"""Flat colours by number: the palette that `palette:N` names and that drawn worlds are painted with.

Colours are corners of a cube of four levels a channel, so that any two differ by 85 of 255 in some channel.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

MAX_COLOURS = 64
_STEP = 85
# Levels (red, green, blue) of the first colours, which tiles are painted with: easy to tell apart by eye.
_FIRST = "111 233 000 330 030 013 300 320 203 332 323 223 132 100 022 202 303 033"


def palette(colours: int) -> npt.NDArray[np.uint8]:
    """The first colours, uint8 [colours, 3]. A longer palette begins with the shorter one.

    Raises:
        ValueError: `colours` is not within 2 and 64.
    """
    if not 2 <= colours <= MAX_COLOURS:
        raise ValueError(f"a palette has 2 to {MAX_COLOURS} colours, not {colours}")
    return _ALL[:colours]


def _colours() -> npt.NDArray[np.uint8]:
    first = [tuple(map(int, levels)) for levels in _FIRST.split()]
    rest = [(r, g, b) for g in range(4) for r in range(4) for b in range(4) if (r, g, b) not in first]
    colours = np.array(first + rest, np.uint8) * np.uint8(_STEP)
    colours.setflags(write=False)
    return colours


_ALL = _colours()
