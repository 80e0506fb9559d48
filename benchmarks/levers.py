"""What each lever of the latent layers changes, alone, on the tiny preset: at equal steps and at equal time.

Usage: ``python benchmarks/levers.py [--steps 1500] [--seconds 100] [--seeds 0 1 2] [--levers NAME ...] [--json PATH]``.
Each cell is a whole run of `neat train --config tiny` with one setting changed, learning rate decayed to zero, scored
on the whole held-out text. ``--steps 0`` or ``--seconds 0`` leaves that half out. Differences are to the run without a
lever of the same seed. Run it on an idle machine: seconds are wall clock.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from machine import describe
from tiny_table import train

BASELINE = "none"
LEVERS: dict[str, tuple[str, ...]] = {
    BASELINE: (),
    "xsa": ("network.xsa=true",),
    "attention_gate": ("network.attention_gate=true",),
    "unet_skips": ("network.unet_skips=true",),
    "kv_conv": ("network.kv_conv=4",),
    "leaky_relu2": ("network.activation=leaky_relu2",),
    "qk_gain": ("network.qk_gain=2.0",),
    "rope_share": ("network.rope_share=0.25",),
    "loop_middle": ("network.loop_middle=0.35",),
    "recursion": ("recursion.depth=2",),
}


def lengths(steps: int, seconds: int) -> list[str]:
    """The settings that make runs comparable, one per half of the table."""
    return [f"train.max_steps={steps}"] * bool(steps) + [f"train.budget={seconds}s"] * bool(seconds)


def table(results: list[dict[str, Any]], halves: list[str]) -> str:
    """Markdown: a row per lever; mean bits per byte, difference with its spread over seeds, speed."""
    lines = ["| lever | parameters | " + " | ".join(f"{half}: bpb, difference (seeds), kB/s" for half in halves) + " |"]
    lines.append("|---|---|" + "---|" * len(halves))
    for lever in LEVERS:
        runs = [result for result in results if result["lever"] == lever]
        if runs:
            cells = [_cell(results, lever, half) for half in halves]
            lines.append(f"| {lever} | {runs[0]['parameters'] / 1e6:.3f} M | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(results: list[dict[str, Any]], lever: str, half: str) -> str:
    runs = {result["seed"]: result for result in results if (result["lever"], result["length"]) == (lever, half)}
    if not runs:
        return "not measured"
    base = {result["seed"]: result for result in results if (result["lever"], result["length"]) == (BASELINE, half)}
    changes = [runs[seed]["bpb"] - base[seed]["bpb"] for seed in sorted(runs.keys() & base.keys())]
    mean = statistics.fmean(run["bpb"] for run in runs.values())
    speed = statistics.median(run["kB_per_s"] for run in runs.values())
    if lever == BASELINE or not changes:
        return f"{mean:.4f}, , {speed:.1f}"
    seeds = " / ".join(f"{change:+.4f}" for change in changes)
    return f"{mean:.4f}, {statistics.fmean(changes):+.4f} ({seeds}), {speed:.1f}"


def main() -> None:
    """Runs every cell that the result file does not hold yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, help="updates per run of the first half")
    parser.add_argument("--seconds", type=int, default=100, help="seconds per run of the second half")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--levers", nargs="+", choices=list(LEVERS), default=list(LEVERS))
    parser.add_argument("--json", type=Path, help="result file; cells that it holds are not run again")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        results = json.loads(arguments.json.read_text(encoding="utf-8"))["results"]
    done = {(result["lever"], result["length"], result["seed"]) for result in results}
    halves = lengths(arguments.steps, arguments.seconds)
    levers = [BASELINE, *(lever for lever in arguments.levers if lever != BASELINE)]
    for seed, half, lever in itertools.product(arguments.seeds, halves, levers):
        if (lever, half, seed) in done:
            continue
        cell = {"lever": lever, "length": half, "seed": seed} | train((*LEVERS[lever], half), seed)
        results.append(cell)
        print(json.dumps(cell), file=sys.stderr, flush=True)
        if arguments.json:
            record = {"machine": describe("torch"), "results": results}
            arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table(results, halves))


if __name__ == "__main__":
    main()
