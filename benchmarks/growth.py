"""Growing a network against training the large one from scratch, at equal compute and after full decay.

Usage: ``python benchmarks/growth.py [--steps 250] [--seeds 0 1] [--arms NAME ...] [--json PATH]``. The compute of
every arm is that of ``--steps`` steps of the large network, by `neat.profiling.flops`. A grown arm spends the first
30 % of it on a smaller network at a constant learning rate, whose last weights and optimizer state then grow
(`init.weights=raw`, `init.optimizer=map`); the last 40 % of the compute decay the learning rate to zero in every arm.
The control trains the smallest network throughout, for as much compute and so for more steps. Everything else is the
tiny preset with a smaller local part. Each cell is a whole run, scored on the whole held-out text.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from machine import describe

from neat.config.load import load
from neat.config.schema import Config
from neat.profiling.flops import train_per_byte
from neat.train import loop

SHARE, DECAY, WARMUP = 0.3, 0.4, 0.07
"""Of the compute: what the smaller network gets, what decays, what warms up."""
COMMON = (
    *("train.curriculum=[]", "train.sample_bytes=0", "train.log_every=100", "checkpoint.every_steps=1000000"),
    *("network.local_width=64", "network.decoder_ffn_width=176", "network.hash_rows=4096", "runtime.threads=1"),
    "ngram.folds=2",
)


def shape(width: int, layers: int) -> tuple[str, ...]:
    """A latent transformer with heads of 32 channels."""
    heads = width // 32
    return (
        *(f"network.width={width}", f"network.layers={layers}", f"network.ffn_width={width * 11 // 4}"),
        *(f"network.heads={heads}", f"network.kv_heads={heads}"),
    )


LARGE, SHALLOW, NARROW, SMALL = shape(128, 4), shape(128, 2), shape(64, 4), shape(64, 2)
Arm = tuple[tuple[str, ...] | None, tuple[str, ...], tuple[str, ...]]
ARMS: dict[str, Arm] = {
    "large, from scratch": (None, LARGE, ()),
    "small throughout": (None, SMALL, ()),
    "deeper, copy": (SHALLOW, LARGE, ("init.method=copy",)),
    "deeper, stack": (SHALLOW, LARGE, ("init.method=stack",)),
    "deeper, preserve": (SHALLOW, LARGE, ("init.method=preserve",)),
    "wider, preserve": (NARROW, LARGE, ("init.method=preserve",)),
    "wider, preserve, noise 0": (NARROW, LARGE, ("init.method=preserve", "init.noise=0.0")),
}
"""Network of the first part, network of the end, how the one becomes the other."""


def configuration(settings: tuple[str, ...]) -> Config:
    return load("tiny", settings).config


def step_flops(settings: tuple[str, ...]) -> float:
    """Operations of one step."""
    config = configuration((*COMMON, *settings))
    return train_per_byte(config, config.train.window) * config.train.batch_bytes


def schedule(warmup: float, decay: float) -> tuple[str, ...]:
    return f"optim.warmup_share={warmup}", f"optim.decay_share={decay}"


def train(out: Path, settings: tuple[str, ...]) -> list[dict[str, Any]]:
    """One run, as `neat train` makes it but in this process; returns its events."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        loop.run(configuration((*COMMON, *settings)), out)
    return [json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]


def run(arm: str, seed: int, steps: int, folder: Path) -> dict[str, Any]:
    """One arm; the first parts in `folder` are shared by the arms that begin alike."""
    first, last, how = ARMS[arm]
    budget, began = steps * step_flops(LARGE), time.process_time()
    spent, settings = 0.0, (*last, *how, f"seed={seed}")
    if first is None:
        settings += schedule(WARMUP, DECAY)
    else:
        source, spent = _first_part(first, seed, SHARE * budget, folder)
        settings += schedule(WARMUP * (1 - SHARE), DECAY / (1 - SHARE))
        settings += (f"init.from={source}", "init.weights=raw", "init.optimizer=map")
    count = round((budget - spent) / step_flops(last))
    events = train(folder / f"{len(list(folder.iterdir()))}", (*settings, f"train.max_steps={count}"))
    score = next(event for event in reversed(events) if event["type"] == "eval")
    grown = next((event for event in events if event["type"] == "growth"), None)
    result = {
        "arm": arm,
        "seed": seed,
        "budget_steps": steps,
        "bpb": score["eval/bpb"],
        "ngram_bpb": score["eval/ngram_bpb"],
        "parameters": next(event["parameters"] for event in events if event["type"] == "run"),
        "flops": spent + count * step_flops(last),
        "steps": count,
        "first_steps": 0 if first is None else round(spent / step_flops(first)),
        "cpu_s": round(time.process_time() - began, 1),
    }
    if grown is not None:
        result |= {key: grown[key] for key in ("logits/max_delta", "loss/before", "loss/after")}
    return result


def _first_part(first: tuple[str, ...], seed: int, budget: float, folder: Path) -> tuple[Path, float]:
    """A run of the smaller network without decay, made once, and the compute it took."""
    count = round(budget / step_flops(first))
    out = folder / f"first-{configuration(first).network.width}-{configuration(first).network.layers}-{seed}"
    if not out.exists():
        # The warm-up is as long as that of the whole in compute.
        once = (*schedule(WARMUP / SHARE, 0.0), "train.eval_bytes=1024", f"train.max_steps={count}", f"seed={seed}")
        train(out, (*first, *once))
    return out, count * step_flops(first)


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: a row per arm, its mean, and its difference to training from scratch of the same seed."""
    lines = [
        "| arm | steps | bpb (seeds) | mean | against from scratch (seeds) | loss at growth |",
        "|---|---|---|---|---|---|",
    ]
    scratch = {result["seed"]: result["bpb"] for result in results if result["arm"] == "large, from scratch"}
    for arm in ARMS:
        runs = [result for result in results if result["arm"] == arm]
        if not runs:
            continue
        scores = [run["bpb"] for run in runs]
        changes = [run["bpb"] - scratch[run["seed"]] for run in runs if run["seed"] in scratch]
        count = f"{runs[0]['first_steps']} + {runs[0]['steps']}" if runs[0]["first_steps"] else f"{runs[0]['steps']}"
        cells = [
            arm, count, " / ".join(f"{score:.4f}" for score in scores), f"{statistics.fmean(scores):.4f}",
            f"{statistics.fmean(changes):+.4f} ({' / '.join(f'{one:+.4f}' for one in changes)})" if changes else "",
            f"{runs[0]['loss/before']:.3f} -> {runs[0]['loss/after']:.3f}" if "loss/before" in runs[0] else "",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Runs every cell that the result file does not hold yet, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=250, help="steps of the large network that each arm may cost")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--json", type=Path, help="result file; cells that it holds are not run again")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        results = json.loads(arguments.json.read_text(encoding="utf-8"))["results"]
    done = {(result["arm"], result["seed"], result["budget_steps"]) for result in results}
    with tempfile.TemporaryDirectory() as folder:
        for seed, arm in itertools.product(arguments.seeds, arguments.arms):
            if (arm, seed, arguments.steps) in done:
                continue
            results.append(run(arm, seed, arguments.steps, Path(folder)))
            print(json.dumps(results[-1]), file=sys.stderr, flush=True)
            if arguments.json:
                record = {"machine": describe("torch"), "results": results}
                arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(table([result for result in results if result["budget_steps"] == arguments.steps]))


if __name__ == "__main__":
    main()
