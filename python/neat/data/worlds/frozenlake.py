"""FrozenLake: where do these moves lead, to the goal, into a hole, or neither? (Task of MVoT, arXiv 2501.07542.)

Moves off the board do nothing; the game ends in a hole and at the goal. The moves are drawn before the lake is, and
the lake is laid around them, so how long they are and where they go says nothing about how they end.
"""

from __future__ import annotations

from random import Random

from neat.data.worlds.problem import Problem, Step, Tiles, cells_of, spoken, walk
from neat.data.worlds.tiles import Cell, Tile, moved

ANSWERS = ("goal", "hole", "safe")
HOLE_SHARE = 0.3
"""Probability that a cell which the moves leave alone is a hole."""


def frozenlake(chooser: Random, size: int, max_steps: int) -> Problem:
    """A lake of size x size and 1 to `max_steps` moves; the three answers are equally likely."""
    answer = chooser.choice(ANSWERS)
    cells = cells_of(size)
    while True:
        start = chooser.choice(cells)
        actions, path = walk(chooser, size, start, chooser.randint(1, max_steps))
        free = [cell for cell in cells if cell != start and cell not in path]
        # The last cell must be new whatever the answer, or a walk that returns would give the answer away.
        if path[-1] not in (start, *path[:-1]) and free:
            break
    goal = path[-1] if answer == "goal" else chooser.choice(free)
    holes = {cell for cell in free if cell != goal and chooser.random() < HOLE_SHARE}
    if answer == "hole":
        holes.add(path[-1])
    return play(size, start, goal, holes, actions)


def play(size: int, start: Cell, goal: Cell, holes: set[Cell], actions: list[str]) -> Problem:
    """The problem that these moves on this lake pose."""
    lake: Tiles = dict.fromkeys(holes, Tile.HOLE) | {start: Tile.START, goal: Tile.GOAL}
    cell, steps = start, []
    for action in actions:
        if cell not in holes and cell != goal:
            cell = moved(cell, action, size)
        steps.append(
            Step(action, f"{spoken(cell)} {_ground(cell, goal, holes)}", lake | {cell: _agent(cell, goal, holes)})
        )
    answer = "goal" if cell == goal else "hole" if cell in holes else "safe"
    return Problem(f"lake {size}", size, lake | {start: Tile.AGENT}, tuple(steps), answer)


def _ground(cell: Cell, goal: Cell, holes: set[Cell]) -> str:
    return "goal" if cell == goal else "hole" if cell in holes else "ice"


def _agent(cell: Cell, goal: Cell, holes: set[Cell]) -> Tile:
    if cell in holes:
        return Tile.AGENT_IN_HOLE
    return Tile.AGENT_AT_GOAL if cell == goal else Tile.AGENT
