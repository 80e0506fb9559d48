"""What a run that tunes itself gains: against its untuned settings, and against a grid of whole runs of the same cost.

Usage: ``python benchmarks/tune.py [--steps 2000] [--seeds 0 1] [--json PATH]``. A small network on the bundled text.
Three starts: the learning rates of the preset `tiny`, a quarter of them and four times them. Three ways to spend the
same positions on each start:

- untuned: one run with the settings as they are;
- tuned: the same with `train.tune=true`, whose branches are taken off the length of the run;
- grid: five runs of a fifth of the length with learning rates of 1/4, 1/2, 1, 2 and 4 times the start; the best of them
  by its loss on the held-out text is the result, which flatters the grid a little.

All runs decay to zero and are scored on the whole held-out text, which tuning never sees.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import describe

STARTS = (0.25, 1.0, 4.0)
GRID = (0.25, 0.5, 1.0, 2.0, 4.0)
RATES = {"optim.lr": 1e-2, "optim.adamw_lr": 5e-3, "optim.hash_lr": 5e-3}
NETWORK = (
    *("ngram.folds=2", "ngram.order=4", "network.width=32", "network.layers=1", "network.heads=2"),
    *("network.kv_heads=2", "network.ffn_width=64", "network.local_width=32", "network.decoder_layers=1"),
    *("network.decoder_ffn_width=64", "network.hash_orders=[3]", "network.hash_rows=1024", "train.window=128"),
    *(
        "train.batch_bytes=512",
        "train.curriculum=[]",
        "train.sample_bytes=0",
        "runtime.threads=1",
        "train.log_every=50",
    ),
    *("checkpoint.every_steps=1000000", "runtime.device=cpu"),
    # Tuning alone is measured: hybrid prediction costs time and changes little of it.
    *("predict.micro=false", "predict.jumps=off", "dynamics.on=false"),
)


def train(factor: float, steps: int, seed: int, *, tuned: bool) -> dict[str, Any]:
    """One run; bits per byte on the held-out text, and what tuning chose."""
    settings = [*NETWORK, *(f"{key}={rate * factor:.6g}" for key, rate in RATES.items())]
    settings += [f"train.max_steps={steps}", f"seed={seed}", f"train.tune={str(tuned).lower()}"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "neat", "train", "--config", "tiny", "--out", f"{folder}/run"]
        for setting in settings:
            command += ["--set", setting]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        lines = (Path(folder) / "run" / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    found: dict[str, Any] = {"bpb": next(event for event in reversed(events) if event["type"] == "eval")["eval/bpb"]}
    probes = [event for event in events if event["type"] == "probe"]
    if probes:
        keys = ("name", "steps", "loss", "outcome")
        found["probes"] = [{key: probe[key] for key in keys} for probe in probes[:-1]]
        found |= {"chosen": probes[-1]["changes"], "positions": probes[-1]["positions"]}
    return found


def cells(steps: int, seeds: list[int]) -> list[tuple[str, float, int, int]]:
    """(way, factor on the preset's rates, steps, seed) of every run; runs that two grids share are there once."""
    grid = sorted({start * factor for start in STARTS for factor in GRID})
    found: list[tuple[str, float, int, int]] = []
    for seed in seeds:
        for start in STARTS:
            found += [("untuned", start, steps, seed), ("tuned", start, steps, seed)]
        found += [("grid", factor, steps // len(GRID), seed) for factor in grid]
    return found


def table(results: list[dict[str, Any]], seeds: list[int]) -> str:
    """Markdown: a row per start; bits per byte of each way, mean (seeds)."""
    lines = ["| start | untuned | tuned | grid of whole runs | tuned minus untuned | tuned minus grid |"]
    lines.append("|---|---|---|---|---|---|")
    for start in STARTS:
        columns = [[_score(results, way, start, seed) for seed in seeds] for way in ("untuned", "tuned", "grid")]
        untuned, tuned, grid = columns
        row = [_cell(column) for column in columns]
        row += [_cell([a - b for a, b in zip(tuned, other, strict=True)], sign="+") for other in (untuned, grid)]
        lines.append(f"| {start:g} x preset | " + " | ".join(row) + " |")
    return "\n".join(lines)


def _score(results: list[dict[str, Any]], way: str, start: float, seed: int) -> float:
    factors = [start * factor for factor in GRID] if way == "grid" else [start]
    return min(r["bpb"] for r in results if r["way"] == way and r["factor"] in factors and r["seed"] == seed)


def _cell(values: list[float], sign: str = "") -> str:
    each = " / ".join(f"{value:{sign}.4f}" for value in values)
    return f"{statistics.fmean(values):{sign}.4f} ({each})"


def main() -> None:
    """Runs every cell that the result file does not hold yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="length of a run, in steps of 512 positions")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--json", type=Path, help="result file; cells that it holds are not run again")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        results = json.loads(arguments.json.read_text(encoding="utf-8"))["results"]
    done = {(result["way"], result["factor"], result["steps"], result["seed"]) for result in results}
    for way, factor, steps, seed in itertools.filterfalse(done.__contains__, cells(arguments.steps, arguments.seeds)):
        cell = {"way": way, "factor": factor, "steps": steps, "seed": seed}
        results.append(cell | train(factor, steps, seed, tuned=way == "tuned"))
        print(json.dumps(results[-1]), file=sys.stderr, flush=True)
        if arguments.json:
            record = {"machine": describe("torch"), "results": results}
            arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table(results, arguments.seeds))


if __name__ == "__main__":
    main()
