"""Does recursion solve more, and does halting spend its depth on what is hard? 4x4 Sudoku as bytes, flat networks.

Usage: ``python benchmarks/recursion.py [--seeds 0 1 2] [--steps 500] [--json PATH]``. A document is a puzzle with one
solution, read row by row with dots for blanks, an equals sign, and the solution; only the solution is scored. Puzzles
of the test have solutions that no training puzzle has. Arms: the layers once; the layers four times (recursion); four
times with halting; four times as many layers of their own (the operations of recursion, four times the parameters).
The same halting network is also run with positions that stop at random, as many after each application as it stops.
A puzzle is solved when every byte of its solution is the most likely one, which is what greedy decoding writes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from machine import describe
from torch import Tensor

from neat.config.load import load
from neat.config.schema import Config
from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.losses import objective
from neat.model.neat import NeatModel
from neat.optim import schedule
from neat.optim.build import Optimizers
from neat.profiling.flops import forward_per_byte

Grids = npt.NDArray[np.int64]

CELLS, LENGTH = 16, 33
TEST_GRIDS, TEST_PUZZLES, ROWS = 48, 512, 64
PEERS = [
    [j for j in range(CELLS) if j != i and (i // 4 == j // 4 or i % 4 == j % 4 or _box == (j // 8, j % 4 // 2))]
    for i in range(CELLS)
    for _box in [(i // 8, i % 4 // 2)]
]
BASE = (
    "network.patches=false", "network.width=32", "network.layers=2", "network.heads=4", "network.kv_heads=4",
    "network.ffn_width=96", "network.hash_orders=[]", "network.ngram_features=false", "network.smear=false",
    "train.max_steps=1", "train.window=33", "train.batch_bytes=2112", "train.curriculum=[]", "patcher.max_length=16",
    "optim.lr=1e-2", "optim.adamw_lr=3e-3", "optim.weight_decay=0.0", "optim.ema_decay=0.0",
)  # fmt: skip
DEPTH = 4
RECURSION = (f"recursion.depth={DEPTH}", f"recursion.supervision={[0.5] * (DEPTH - 1)}")
ARMS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "recursion": RECURSION,
    "recursion, halting": (*RECURSION, "recursion.halting=true", "recursion.halt_threshold=0.95"),
    "deeper": (f"network.layers={2 * DEPTH}",),
}


def solutions() -> Grids:
    """All 288 filled grids, [288, 16], cells 1 to 4."""
    lines = list(itertools.permutations((1, 2, 3, 4)))
    found = [sum(rows, ()) for rows in itertools.product(lines, repeat=4) if _valid(sum(rows, ()))]
    return np.array(found, dtype=np.int64)


def _valid(cells: tuple[int, ...]) -> bool:
    return all(cells[i] != cells[j] for i in range(CELLS) for j in PEERS[i])


def puzzles(grids: Grids, every: Grids, num: int, chooser: np.random.Generator) -> tuple[Grids, Grids]:
    """`num` puzzles with 4 to 12 clues whose only solution among `every` is one of `grids`: (puzzles, solutions)."""
    found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    while len(found) < num:
        solution = grids[chooser.integers(len(grids))]
        clues = chooser.permutation(CELLS)[: chooser.integers(4, 13)]
        if (every[:, clues] == solution[clues]).all(1).sum() == 1:
            puzzle = np.zeros(CELLS, dtype=np.int64)
            puzzle[clues] = solution[clues]
            found.append((puzzle, solution))
    return np.array([puzzle for puzzle, _ in found]), np.array([solution for _, solution in found])


def difficulty(puzzle: npt.NDArray[np.int64]) -> int:
    """Rounds in which all cells with one possible value are filled at once; 10 more when that does not solve it."""
    cells, rounds = puzzle.copy(), 0
    while (cells == 0).any():
        allowed = {i: {1, 2, 3, 4} - {int(cells[j]) for j in PEERS[i]} for i in range(CELLS) if cells[i] == 0}
        sure = {i: values.pop() for i, values in allowed.items() if len(values) == 1}
        if not sure:
            return rounds + 10
        for i, value in sure.items():
            cells[i] = value
        rounds += 1
    return rounds


def batch_of(puzzle: Grids, solution: Grids) -> Batch:
    """One puzzle a row; the bytes of the solution are scored."""
    text = np.concatenate((np.where(puzzle > 0, puzzle + 48, 46), np.full((len(puzzle), 1), 61), solution + 48), axis=1)
    ids = torch.from_numpy(np.concatenate((np.full((len(text), 1), 256), text[:, :-1]), axis=1))
    targets = torch.from_numpy(text).clone()
    targets[:, : CELLS + 1] = IGNORED_TARGET
    document = torch.zeros(ids.shape, dtype=torch.int32)
    places = torch.arange(LENGTH).expand(ids.shape)
    return Batch(ids, targets, document, places, places, document, places, places, torch.ones_like(document))


def train(config: Config, seed: int, steps: int, data: Callable[[], Batch]) -> tuple[NeatModel, float]:
    """A network after `steps` updates, learning rate decayed to zero, and the seconds they took."""
    torch.manual_seed(seed)
    model = NeatModel(config)
    optimizers = Optimizers(model, config.optim)
    halting = model.latent.halting
    start = time.perf_counter()
    for step in range(steps):
        batch = data()
        outputs = model.outputs(batch)
        total, _ = objective(outputs, batch, config)
        torch.autograd.backward(total / (CELLS * ROWS))
        if halting is not None:
            halting.observe(outputs, batch)
            halting.calibrate()
        optimizers.step(schedule.lr_scale(config.optim, step, steps), schedule.momentum(config.optim, step, steps))
        optimizers.zero_grad()
    return model.eval(), time.perf_counter() - start


@torch.inference_mode()
def score(model: NeatModel, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Which rows are solved, and the mean depth of each row's scored bytes."""
    scored = batch.targets != IGNORED_TARGET
    outputs = model.trunk(model.embed(batch), batch, last_only=True)
    solved = ((outputs.logits.argmax(-1) == batch.targets) | ~scored).all(1)
    if outputs.depth is None:
        return solved, None
    return solved, (outputs.depth * scored).sum(1) / scored.sum(1)


@contextmanager
def random_stops(model: NeatModel, batch: Batch, seed: int) -> Iterator[None]:
    """Inside, scored positions stop with the frequency that they have now, after each application, but at random."""
    halting = model.latent.halting
    assert halting is not None
    with torch.inference_mode():
        depth = model.trunk(model.embed(batch), batch, last_only=True).depth
    assert depth is not None
    rates = [
        torch.stack([(column == r).sum() / (column >= r).sum().clamp(min=1) for column in depth.unbind(1)])
        for r in range(1, DEPTH + 1)
    ]
    generator = torch.Generator().manual_seed(seed)
    # One rate per place in the row, so that the puzzle and the solution keep their own.
    halting.stops = lambda logit, application: torch.rand(logit.shape, generator=generator) < rates[application]  # type: ignore[method-assign]
    try:
        yield
    finally:
        del halting.stops


def rank_correlation(left: Tensor, right: Tensor) -> float:
    """Spearman's rank correlation; equal values share their mean rank. Zero when one side is constant."""
    ranks = [_ranks(values.double()) for values in (left, right)]
    if any(float(values.std()) == 0 for values in ranks):
        return 0.0
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def _ranks(values: Tensor) -> Tensor:
    _, place, count = values.unique(return_inverse=True, return_counts=True)
    return (count.cumsum(0) - (count - 1) / 2)[place]


def run(arm: str, seed: int, steps: int) -> dict[str, Any]:
    """Trains and scores one arm with one seed."""
    chooser = np.random.default_rng(seed)
    every = solutions()
    order = np.random.default_rng(0).permutation(len(every))
    pool = puzzles(every[order[TEST_GRIDS:]], every, 20_000, chooser)
    config = load(None, [*BASE, *ARMS[arm]]).config

    def draw() -> Batch:
        rows = chooser.integers(len(pool[0]), size=ROWS)
        return batch_of(pool[0][rows], pool[1][rows])

    model, seconds = train(config, seed, steps, draw)
    held_out = puzzles(every[order[:TEST_GRIDS]], every, TEST_PUZZLES, np.random.default_rng(1))
    hardness = torch.tensor([difficulty(puzzle) for puzzle in held_out[0]])
    batch = batch_of(*held_out)
    solved, depth = score(model, batch)
    result: dict[str, Any] = {
        "arm": arm, "seed": seed, "steps": steps, "train_s": round(seconds, 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "most_flops_per_byte": forward_per_byte(config, LENGTH),
        "solved": float(solved.double().mean()),
        "solved_by_difficulty": by_difficulty(hardness, solved.double()),
    }  # fmt: skip
    if depth is not None:
        with random_stops(model, batch, seed):
            at_random, _ = score(model, batch)
        result |= {
            "mean_depth": float(depth.mean()),
            "depth_by_difficulty": by_difficulty(hardness, depth),
            "rank_correlation": rank_correlation(hardness, depth),
            "solved_stopping_at_random": float(at_random.double().mean()),
        }
    return result


def by_difficulty(hardness: Tensor, values: Tensor) -> dict[str, float]:
    """Mean of the values at each difficulty."""
    return {str(level): round(float(values[hardness == level].mean()), 4) for level in hardness.unique().tolist()}


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row per arm, the share of solved puzzles of each seed, depths where positions halt."""
    lines = [
        "| arm | parameters | kFLOP a byte, at most | solved (seeds) | mean | depth, rank correlation, at random |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for arm in ARMS:
        runs = [result for result in results if result["arm"] == arm]
        if not runs:
            continue
        solved = [run["solved"] for run in runs]
        cells = [
            arm, f"{runs[0]['parameters']}", f"{runs[0]['most_flops_per_byte'] / 1e3:.0f}",
            " / ".join(f"{share:.3f}" for share in solved), f"{statistics.fmean(solved):.3f}",
        ]  # fmt: skip
        if "mean_depth" in runs[0]:
            keys = ("mean_depth", "rank_correlation", "solved_stopping_at_random")
            cells.append(", ".join(f"{statistics.fmean(run[key] for run in runs):.2f}" for key in keys))
        else:
            cells.append("")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Runs every cell that the result file does not hold yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--json", type=Path, help="result file; cells that it holds are not run again")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        results = json.loads(arguments.json.read_text(encoding="utf-8"))["results"]
    done = {(result["arm"], result["seed"], result["steps"]) for result in results}
    for seed, arm in itertools.product(arguments.seeds, arguments.arms):
        if (arm, seed, arguments.steps) in done:
            continue
        results.append(run(arm, seed, arguments.steps))
        print(json.dumps(results[-1]), flush=True)
        if arguments.json:
            record = {"machine": describe("torch"), "results": results}
            arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table([result for result in results if result["steps"] == arguments.steps]))


if __name__ == "__main__":
    main()
