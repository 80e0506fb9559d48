"""The whole recipe against tuned optimizers: compute and time to equal bits per byte after full decay.

Usage: ``python benchmarks/recipe.py --tuned benchmarks/results/predict.json [--lengths 150 300 600] [--seeds 1 2]
[--workers 2] [--json PATH]``. The tuned settings are those that `predict.py` chose. Arms: AdamW 0.9/0.95 with only its
learning rate tuned, AdamW tuned with beta1, tuned Muon, and the recipe of the presets: Muon, predicted deltas, shorter
windows first. Every length is a run of its own with a full decay, all scored with the weights they end with. Between
lengths the score is interpolated in ln(steps), and the table says how many steps of the other arm reach the score that
an arm has at the middle length, and how much time, by the measured seconds a step (one run at a time).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

from variants import Results

RATES = (2e-3, 3e-3, 6e-3)
CURRICULUM = ["train.curriculum=[[0.15, 32], [0.20, 64]]"]


def arms(chosen: dict[str, list[str]], results: Results, steps: int) -> dict[str, list[str]]:
    """Name -> settings."""
    plain = [["optim.name=adamw", f"optim.lr={lr}", f"optim.adamw_lr={lr}", "optim.beta1=0.9"] for lr in RATES]
    length = f"train.max_steps={steps}"
    results.measure([([*trial, length], 0, "") for trial in plain])
    standard = min(plain, key=lambda trial: results.bpb([*trial, length], 0) or math.inf)
    return {
        "AdamW 0.9/0.95, tuned rate": standard,
        "AdamW, tuned": chosen["AdamW"],
        "Muon, tuned": chosen["Muon"],
        "recipe: Muon, micro, short windows first": [*chosen["Muon, micro"], *CURRICULUM],
        "Muon, short windows first": [*chosen["Muon"], *CURRICULUM],
        "AdamW, tuned, short windows first": [*chosen["AdamW"], *CURRICULUM],
    }


def curve(results: Results, settings: list[str], lengths: list[int], seeds: list[int]) -> list[tuple[float, float]]:
    """(ln steps, mean bits per byte) of each length."""
    points = []
    for steps in lengths:
        scores = [results.bpb([*settings, f"train.max_steps={steps}"], seed) for seed in seeds]
        found = [score for score in scores if score is not None]
        if found:
            points.append((math.log(steps), statistics.fmean(found)))
    return points


def steps_to(points: list[tuple[float, float]], target: float) -> float | None:
    """Steps at which a curve reaches a score, by straight lines in ln(steps), None outside of what was measured."""
    for (x0, y0), (x1, y1) in pairwise(points):
        if y1 <= target <= y0 and y0 > y1:
            return math.exp(x0 + (y0 - target) / (y0 - y1) * (x1 - x0))
    return None


def step_seconds(named: dict[str, list[str]], steps: int) -> dict[str, float]:
    """Seconds a step of each arm, one run at a time, median of three turns."""
    alone, times = Results(None, 1), {}
    for turn in range(3):
        alone.measure([([*s, f"train.max_steps={steps}"], 100 + turn, "") for s in named.values()])
    for name, settings in named.items():
        cells = [alone.cell([*settings, f"train.max_steps={steps}"], 100 + turn) for turn in range(3)]
        times[name] = statistics.median(cell["seconds"] for cell in cells) / steps
    return times


def show(summary: dict[str, Any], lengths: list[int]) -> str:
    """The table in Markdown."""
    names, middle = list(summary["curves"]), lengths[len(lengths) // 2]
    targets = {name: dict(summary["curves"][name]).get(math.log(middle)) for name in names}
    head = "| | " + " | ".join(f"bpb, {n} steps" for n in lengths) + " | ms a step |"
    lines = [head, "|---|" + "---|" * (len(lengths) + 1)]
    for name in names:
        cells = " | ".join(f"{y:.4f}" for _, y in summary["curves"][name])
        lines.append(f"| {name} | {cells} | {1e3 * summary['step_s'][name]:.0f} |")
    lines += ["", f"Steps, and time, that the recipe needs for what another arm reaches in {middle} steps:", ""]
    lines += ["| reaches the score of | steps | fewer steps by | less time by |", "|---|---|---|---|"]
    recipe = next(name for name in names if name.startswith("recipe"))
    for name in names:
        target = targets[name]
        needed = steps_to(summary["curves"][recipe], target) if target is not None and name != recipe else None
        if needed is not None:
            time = middle * summary["step_s"][name] / (needed * summary["step_s"][recipe])
            lines.append(f"| {name} | {needed:.0f} | {middle / needed:.2f} | {time:.2f} |")
        elif name != recipe:
            lines.append(f"| {name} | outside of what was measured | | |")
    return "\n".join(lines)


def main() -> None:
    """Runs what the result file does not hold yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuned", type=Path, default=Path(__file__).parent / "results" / "predict.json")
    parser.add_argument("--lengths", nargs="+", type=int, default=[150, 300, 600])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    chosen = json.loads(arguments.tuned.read_text(encoding="utf-8"))["summary"]["chosen"]
    results = Results(arguments.json, arguments.workers)
    named = arms(chosen, results, arguments.lengths[len(arguments.lengths) // 2])
    results.measure(
        [
            ([*settings, f"train.max_steps={steps}"], seed, "")
            for steps in reversed(arguments.lengths)
            for settings in named.values()
            for seed in arguments.seeds
        ]
    )
    summary = {
        "arms": named,
        "curves": {n: curve(results, s, arguments.lengths, arguments.seeds) for n, s in named.items()},
        "step_s": step_seconds(named, 60),
    }
    results.save(summary=summary)
    print(show(summary, arguments.lengths))


if __name__ == "__main__":
    main()
