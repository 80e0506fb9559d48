"""Tiles, the frames they make, and how a frame is drawn.

A tile type is an image code and a colour of the palette, so that drawing and reading an image are exact inverses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from neat.errors import UsageError
from neat.model.images.palette import palette

Cell = tuple[int, int]
"""Row and column, from the top left."""


class Tile(IntEnum):
    """What a cell shows; the value is its image code."""

    BORDER = 0
    FLOOR = 1
    WALL = 2
    START = 3
    GOAL = 4
    HOLE = 5
    AGENT = 6
    AGENT_AT_GOAL = 7
    AGENT_IN_HOLE = 8
    MARK_A = 9
    MARK_B = 10
    MARK_C = 11
    MARK_D = 12
    TABLE = 13
    PRINTER = 14
    AGENT_OVER_PRINTER = 15
    AGENT_WITH_PRINTER = 16
    TABLE_WITH_PRINTER = 17


MOVES: Mapping[str, Cell] = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
"""Step of each move in rows and columns."""


def moved(cell: Cell, action: str, size: int) -> Cell:
    """Where a move leads on an empty board of size x size; a move off the board leads nowhere."""
    row, column = cell[0] + MOVES[action][0], cell[1] + MOVES[action][1]
    return (row, column) if 0 <= row < size and 0 <= column < size else cell


def frame(size: int, grid: int, tiles: Mapping[Cell, Tile]) -> list[int]:
    """Image codes, row by row, of a board of floor with `tiles` on it, in the middle of grid x grid cells.

    Raises:
        UsageError: The board is larger than the image.
    """
    if size > grid:
        raise UsageError(f"a board of size {size} does not fit images of {grid} x {grid} cells", hint=f"--grid {size}")
    margin = (grid - size) // 2
    codes = [int(Tile.BORDER)] * (grid * grid)
    for row in range(size):
        for column in range(size):
            codes[(row + margin) * grid + column + margin] = int(tiles.get((row, column), Tile.FLOOR))
    return codes


def draw(codes: Sequence[int], cell_pixels: int = 8) -> npt.NDArray[np.uint8]:
    """RGB pixels [grid x cell_pixels, grid x cell_pixels, 3] of the codes of a square image."""
    grid = round(len(codes) ** 0.5)
    colours = palette(max(2, *codes, len(Tile) - 1) + 1)[np.asarray(codes)].reshape(grid, grid, 3)
    return np.repeat(np.repeat(colours, cell_pixels, axis=0), cell_pixels, axis=1)
