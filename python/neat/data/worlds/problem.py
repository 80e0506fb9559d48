"""A puzzle of any world: what is asked, what happens step by step, and the answer."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from neat.data.worlds.tiles import Cell, Tile, moved

Tiles = dict[Cell, Tile]


@dataclass(frozen=True, slots=True)
class Step:
    """What one action does.

    Attributes:
        action: Its name.
        note: Where it leads, in words.
        tiles: The board after it.
    """

    action: str
    note: str
    tiles: Tiles


@dataclass(frozen=True, slots=True)
class Problem:
    """A board, actions on it, and the question how it ends.

    Attributes:
        title: World and size, the first words of the text.
        size: Cells per side of the board.
        tiles: The board before the first action.
        steps: The actions that are asked about and what they do; those after the end of the game do nothing.
        answer: One word.
    """

    title: str
    size: int
    tiles: Tiles
    steps: tuple[Step, ...]
    answer: str


def spoken(cell: Cell) -> str:
    """A cell in words, counted from one."""
    return f"row {cell[0] + 1} column {cell[1] + 1}"


def walk(chooser: Random, size: int, start: Cell, length: int) -> tuple[list[str], list[Cell]]:
    """Random moves on an empty board, and the cells stood on after each; moves off the board stay where they are."""
    actions, cells, cell = [], [], start
    for _ in range(length):
        action = chooser.choice(("left", "right", "up", "down"))
        cell = moved(cell, action, size)
        actions.append(action)
        cells.append(cell)
    return actions, cells


def cells_of(size: int) -> list[Cell]:
    """All cells of a board, row by row."""
    return [(row, column) for row in range(size) for column in range(size)]
