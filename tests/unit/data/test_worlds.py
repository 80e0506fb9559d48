"""The worlds against a second simulator that knows their rules and reads nothing but the rows."""

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neat.data.worlds.rows import ARMS, IMAGE, WORLDS, rows, take
from neat.data.worlds.tiles import Tile, draw
from neat.errors import UsageError
from neat.model.images.palette import palette

STEP = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
LETTERS = {Tile.MARK_A: "a", Tile.MARK_B: "b", Tile.MARK_C: "c", Tile.MARK_D: "d"}
AGENTS = {
    Tile.AGENT, Tile.AGENT_AT_GOAL, Tile.AGENT_IN_HOLE, Tile.AGENT_OVER_PRINTER, Tile.AGENT_WITH_PRINTER,
}  # fmt: skip


def board(codes: list[int]) -> np.ndarray:
    """The square of codes inside the border."""
    grid = np.array(codes).reshape(round(len(codes) ** 0.5), -1)
    inside = np.argwhere(grid != Tile.BORDER)
    (top, left), (bottom, right) = inside.min(0), inside.max(0)
    return grid[top : bottom + 1, left : right + 1]


def where(grid: np.ndarray, tiles: set[Tile]) -> tuple[int, int]:
    """The one cell that shows one of these tiles."""
    (cell,) = np.argwhere(np.isin(grid, list(tiles)))
    return int(cell[0]), int(cell[1])


def outcome(world: str, grid: np.ndarray, moves: list[str]) -> tuple[str, list[tuple[int, int]]]:
    """How it ends by the rules, and where the agent stands after each action."""
    size, (row, column) = len(grid), where(grid, AGENTS)
    carried, dropped, trace = False, where(grid, {Tile.PRINTER}) if world == "minibehavior" else None, []
    table = where(grid, {Tile.TABLE}) if world == "minibehavior" else None
    for move in moves:
        under = grid[row, column]
        if move == "pick":
            carried = carried or (row, column) == dropped
        elif move == "put" and carried:
            carried = False
            dropped = table if abs(row - table[0]) + abs(column - table[1]) == 1 else (row, column)
        elif move in STEP and not (world == "frozenlake" and under in (Tile.HOLE, Tile.GOAL)):
            ahead = row + STEP[move][0], column + STEP[move][1]
            if 0 <= ahead[0] < size and 0 <= ahead[1] < size and grid[ahead] not in (Tile.WALL, Tile.TABLE):
                row, column = ahead
        trace.append((row, column))
    under = Tile(grid[row, column])
    if world == "maze":
        return LETTERS[under], trace
    if world == "minibehavior":
        return "carried" if carried else "table" if dropped == table else "floor", trace
    return {Tile.GOAL: "goal", Tile.HOLE: "hole"}.get(under, "safe"), trace


@given(st.sampled_from(list(WORLDS)), st.integers(3, 8), st.integers(0, 1000), st.integers(2, 12))
@settings(max_examples=150, deadline=None)
def test_answers_and_pictures_follow_the_rules(world: str, size: int, seed: int, max_steps: int) -> None:
    max_steps += 4 * size * (world == "minibehavior")
    for row in take(rows(world, "images", size=size, seed=seed, max_steps=max_steps), 3):
        moves = re.search(r"moves: (.*)\n", row["prompt"])[1].split(", ")
        assert 1 <= len(moves) <= max_steps
        first, *later = map(board, row["images"])
        assert first.shape == (size, size)
        answer, trace = outcome(world, first, moves)
        assert row["answer"] == answer
        assert row["text"] == row["prompt"] + "".join(f"{m} {IMAGE}\n" for m in moves) + f"answer: {answer}\n"
        assert [where(picture, AGENTS) for picture in later] == trace
        for before, after in pairwise([first, *later]):
            assert (before != after).sum() <= 2, "an action moves one thing"


@pytest.mark.parametrize("world", WORLDS)
def test_arms_tell_the_same_problem(world: str) -> None:
    direct, words, images = (take(rows(world, arm, seed=3), 20) for arm in ARMS)
    for one, two, three in zip(direct, words, images, strict=True):
        assert one["prompt"] == two["prompt"] == three["prompt"]
        assert one["answer"] == two["answer"] == three["answer"]
        assert one["images"] == two["images"] == three["images"][:1]
        assert one["text"] == one["prompt"] + f"answer: {one['answer']}\n"
        assert two["text"].count("\n") == three["text"].count("\n") == 2 + len(three["images"])
        for row in (one, two, three):
            assert row["text"].count(IMAGE) == len(row["images"]) and row["prompt"].count(IMAGE) == 1


def test_words_of_a_lake_say_where_the_agent_is() -> None:
    for row in take(rows("frozenlake", "text", seed=5), 50):
        moves = re.search(r"moves: (.*)\n", row["prompt"])[1].split(", ")
        grid = board(row["images"][0])
        _, trace = outcome("frozenlake", grid, moves)
        told = re.findall(r"row (\d+) column (\d+) (\w+)", row["text"])
        assert [(int(r) - 1, int(c) - 1) for r, c, _ in told] == trace
        ground = {Tile.GOAL: "goal", Tile.HOLE: "hole"}
        assert [word for *_, word in told] == [ground.get(Tile(grid[cell]), "ice") for cell in trace]


@pytest.mark.parametrize(("world", "answers"), [("frozenlake", 3), ("maze", 4), ("minibehavior", 3)])
def test_answers_are_balanced(world: str, answers: int) -> None:
    seen = Counter(row["answer"] for row in take(rows(world, "direct", size=4), 600))
    assert len(seen) == answers
    # Three standard deviations of a count with probability 1/answers.
    assert all(abs(count - 600 / answers) < 3 * (600 / answers) ** 0.5 for count in seen.values())


def test_moves_alone_do_not_tell_how_a_lake_ends() -> None:
    lengths: dict[object, list[int]] = {}
    for row in take(rows("frozenlake", "direct", size=4, max_steps=6), 3000):
        lengths.setdefault(row["answer"], []).append(row["prompt"].count(","))
    shares = [np.bincount(found, minlength=6) / len(found) for found in lengths.values()]
    assert np.abs(np.array(shares) - np.mean(shares, axis=0)).max() < 0.05


def test_splits_share_no_problem_and_make_up_the_whole() -> None:
    kept = {split: take(rows("frozenlake", "direct", size=3, split=split), 300) for split in ("train", "test")}
    told = {split: {(row["prompt"], tuple(row["images"][0])) for row in found} for split, found in kept.items()}
    assert not told["train"] & told["test"]
    names = {row["id"] for found in kept.values() for row in found}
    assert {row["id"] for row in take(rows("frozenlake", "direct", size=3), 300)} <= names


def test_rows_are_a_function_of_the_seed() -> None:
    first = take(rows("maze", "images", seed=1), 5)
    assert first == take(rows("maze", "images", seed=1), 5) != take(rows("maze", "images", seed=2), 5)
    assert take(rows("maze", "images", seed=1), 2) == first[:2]


def test_drawn_tiles_are_read_back_exactly() -> None:
    codes = [tile % len(Tile) for tile in range(64)]
    pixels = draw(codes)
    assert pixels.shape == (64, 64, 3) and pixels.dtype == np.uint8
    colours = palette(len(Tile))
    cells = pixels.reshape(8, 8, 8, 8, 3)[:, 0, :, 0].reshape(64, 3)
    assert [int(np.flatnonzero((colours == cell).all(1))[0]) for cell in cells] == codes


def test_colours_are_distinct_and_stable() -> None:
    everything = palette(64)
    assert len(np.unique(everything, axis=0)) == 64
    assert (palette(16) == everything[:16]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"world": "chess"}, "chess is no world"),
        ({"arm": "both"}, "both is no arm"),
        ({"split": "dev"}, "dev is no split"),
        ({"size": 2}, "size 2"),
        ({"size": 9}, "does not fit images of 8 x 8"),
        ({"max_steps": -1}, "-1 steps"),
    ],
)
def test_impossible_worlds_are_usage_errors(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rows(**{"world": "maze", "arm": "direct", **changes})
