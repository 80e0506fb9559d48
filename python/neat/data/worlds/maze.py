"""Maze: at which of the marks a, b, c and d do these moves end? (Task of MVoT, arXiv 2501.07542.)

Walls are cells; moves against a wall or off the board do nothing. The moves are drawn first and the walls around
them, some right in their way.
"""

from __future__ import annotations

from random import Random

from neat.data.worlds.problem import Problem, Step, Tiles, cells_of, spoken
from neat.data.worlds.tiles import MOVES, Cell, Tile, moved

MARKS = {"a": Tile.MARK_A, "b": Tile.MARK_B, "c": Tile.MARK_C, "d": Tile.MARK_D}
WALL_SHARE = 0.35
"""Probability that a cell which the moves leave alone is a wall."""
BUMP_SHARE = 0.25
"""Probability that a move onto a new cell meets a wall put there for it."""


def maze(chooser: Random, size: int, max_steps: int) -> Problem:
    """A maze of size x size and 1 to `max_steps` moves; the four answers are equally likely."""
    cells = cells_of(size)
    while True:
        start = chooser.choice(cells)
        actions, path, walls = _wander(chooser, size, start, chooser.randint(1, max_steps))
        unused = [cell for cell in cells if cell not in walls and cell not in (start, path[-1])]
        if path[-1] != start and len(unused) >= len(MARKS) - 1:
            break
    names = list(MARKS)
    chooser.shuffle(names)
    marked = dict(zip(names, [path[-1], *chooser.sample(unused, len(MARKS) - 1)], strict=True))
    for cell in unused:
        if cell not in path and cell not in marked.values() and chooser.random() < WALL_SHARE:
            walls.add(cell)
    return play(size, start, marked, walls, actions)


def play(size: int, start: Cell, marked: dict[str, Cell], walls: set[Cell], actions: list[str]) -> Problem:
    """The problem that these moves in this maze pose; they end at a mark."""
    ground: Tiles = {cell: MARKS[name] for name, cell in marked.items()}
    ground |= dict.fromkeys(walls, Tile.WALL) | {start: Tile.START}
    cell, steps = start, []
    for action in actions:
        ahead = moved(cell, action, size)
        note = "wall" if ahead in walls or ahead == cell else "free"
        cell = cell if ahead in walls else ahead
        steps.append(Step(action, f"{note}, {spoken(cell)}", ground | {cell: Tile.AGENT}))
    answer = next(name for name, place in marked.items() if place == cell)
    return Problem(f"maze {size}", size, ground | {start: Tile.AGENT}, tuple(steps), answer)


def _wander(chooser: Random, size: int, start: Cell, length: int) -> tuple[list[str], list[Cell], set[Cell]]:
    """Random moves, the cells stood on after each, and the walls that stopped some of them."""
    actions: list[str] = []
    path: list[Cell] = []
    walls: set[Cell] = set()
    cell = start
    for _ in range(length):
        action = chooser.choice(tuple(MOVES))
        ahead = moved(cell, action, size)
        if ahead not in (start, *path) and chooser.random() < BUMP_SHARE:
            walls.add(ahead)
        cell = cell if ahead in walls else ahead
        actions.append(action)
        path.append(cell)
    return actions, path, walls
