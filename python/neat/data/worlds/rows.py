"""Problems as rows of JSON lines: the text, with U+FFFC where an image stands, and the images as codes.

    lake 3 <image>
    moves: right, down
    right <image>
    down <image>
    answer: goal

The prompt ends with the line of moves. `direct` goes on with the answer, `text` first tells each step in words,
`images` draws it. A row is a function of world, size, seed and number alone, whatever the arm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from itertools import count, islice
from random import Random
from typing import Any

from neat.data.worlds.frozenlake import frozenlake
from neat.data.worlds.maze import maze
from neat.data.worlds.minibehavior import minibehavior
from neat.data.worlds.problem import Problem
from neat.data.worlds.tiles import frame
from neat.errors import UsageError

IMAGE = "\ufffc"
"""OBJECT REPLACEMENT CHARACTER: stands for an image in a text."""

WORLDS: Mapping[str, Callable[[Random, int, int], Problem]] = {
    "frozenlake": frozenlake,
    "maze": maze,
    "minibehavior": minibehavior,
}
SIZES = {"frozenlake": range(3, 17), "maze": range(3, 17), "minibehavior": range(3, 17)}
ARMS = ("direct", "text", "images")
SPLITS = ("all", "train", "test")
TEST_SHARE = 0.1
"""Share of the problems that belong to `test`, chosen by a hash of the problem: the splits share none."""

Row = dict[str, Any]


def rows(
    world: str,
    arm: str,
    *,
    size: int = 4,
    seed: int = 0,
    split: str = "all",
    grid: int = 8,
    max_steps: int = 0,
) -> Iterator[Row]:
    """Endless rows of one world.

    Args:
        world: `frozenlake`, `maze` or `minibehavior`.
        arm: What stands between question and answer: nothing (`direct`), words (`text`) or `images`.
        size: Cells per side of the board.
        seed: Another seed, other problems.
        split: `train` and `test` share no problem; `all` is both.
        grid: Cells per side of the images; the board is in the middle.
        max_steps: Most actions; 0 takes size + 1, in the office 4 x size.

    Raises:
        UsageError: A name is unknown, or a size is out of range.
    """
    _require("world", world, tuple(WORLDS))
    _require("arm", arm, ARMS)
    _require("split", split, SPLITS)
    if size not in SIZES[world]:
        low, high = SIZES[world][0], SIZES[world][-1]
        raise UsageError(f"a board of size {size} is not possible", hint=f"choose {low} to {high}")
    if max_steps < 0:
        raise UsageError(f"{max_steps} steps are not possible", hint="0 takes a number that fits the size")
    frame(size, grid, {})
    return _rows(world, arm, size, seed, split, grid, max_steps or (4 * size if world == "minibehavior" else size + 1))


def _rows(world: str, arm: str, size: int, seed: int, split: str, grid: int, max_steps: int) -> Iterator[Row]:
    for number in count():
        chooser = Random(f"{world} {size} {max_steps} {seed} {number}")
        problem = WORLDS[world](chooser, size, max_steps)
        row = make_row(problem, arm, grid)
        if split == "all" or split == _split(problem):
            yield {"id": f"{world}-{size}-{seed}-{number}", **row, "world": world, "size": size, "arm": arm}


def make_row(problem: Problem, arm: str, grid: int) -> Row:
    """The fields `text`, `images`, `prompt` (the beginning of the text) and `answer` of a problem."""
    moves = ", ".join(step.action for step in problem.steps)
    prompt = f"{problem.title} {IMAGE}\nmoves: {moves}\n"
    images = [frame(problem.size, grid, problem.tiles)]
    told = ""
    if arm == "text":
        told = "".join(f"{step.action}: {step.note}\n" for step in problem.steps)
    elif arm == "images":
        told = "".join(f"{step.action} {IMAGE}\n" for step in problem.steps)
        images += [frame(problem.size, grid, step.tiles) for step in problem.steps]
    text = f"{prompt}{told}answer: {problem.answer}\n"
    return {"text": text, "images": images, "prompt": prompt, "answer": problem.answer}


def take(found: Iterator[Row], number: int) -> list[Row]:
    """The first rows."""
    return list(islice(found, number))


def _split(problem: Problem) -> str:
    board = sorted((cell, int(tile)) for cell, tile in problem.tiles.items())
    told = repr((problem.title, board, [step.action for step in problem.steps]))
    fraction = int.from_bytes(sha256(told.encode()).digest()[:8], "little") / 2**64
    return "test" if fraction < TEST_SHARE else "train"


def _require(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise UsageError(f"{name} is no {what}", hint=f"choose {', '.join(known[:-1])} or {known[-1]}")
