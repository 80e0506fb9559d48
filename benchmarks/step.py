"""Training speed of the tiny preset beside a flat byte transformer of equal operations per byte, in one process.

Usage: ``python benchmarks/step.py [--seconds 20] [--json PATH]``. The two models take turns, so that a drift of the
machine meets both. The n-gram rows are timed apart, on one thread, as a share of the step: in training they are made
ahead by the stream's own thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from machine import describe

from neat.config.load import load
from neat.config.schema import Config
from neat.profiling.flops import train_per_byte
from neat.train.build import build
from neat.train.loop import train_step
from neat.train.state import Trainer

BASE = ("train.max_steps=100000", "train.curriculum=[]", "optim.schedule=constant", "optim.warmup_share=0.0")
FLAT = ("network.patches=false", "network.heads=2", "network.kv_heads=2", "network.width=128", "network.layers=4")


def flat_of_equal_flops(target: float) -> Config:
    """The flat network of width 128 and four layers whose feed-forward width brings it nearest to `target`."""
    widths = range(32, 1025, 16)
    configs = [load("tiny", [*BASE, *FLAT, f"network.ffn_width={width}"]).config for width in widths]
    return min(configs, key=lambda config: abs(train_per_byte(config, config.train.window) - target))


def seconds_per_step(trainer: Trainer, steps: int) -> float:
    """Mean over `steps` steps."""
    start = time.perf_counter()
    for _ in range(steps):
        train_step(trainer, *trainer.next_batch())
    return (time.perf_counter() - start) / steps


def ngram_seconds(trainer: Trainer) -> float:
    """Time of the n-gram distributions of one step's bytes on one thread."""
    ngram = trainer.text.models.full
    size = trainer.config.train.batch_bytes
    document = next(d for d in trainer.text.validation if len(d) >= 4 * size)[: 4 * size]
    times = []
    for _ in range(10):
        start = time.perf_counter()
        ngram.distributions(document)
        times.append((time.perf_counter() - start) / 4)
    return min(times)


def main() -> None:
    """Prints bytes per second of both models and the share of the n-gram rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="time per model")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    tiny = load("tiny", BASE).config
    flat = flat_of_equal_flops(train_per_byte(tiny, tiny.train.window))
    trainers = {"tiny": build(tiny), "flat of equal operations": build(flat)}
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for trainer in trainers.values():
        seconds_per_step(trainer, 10)
    until = time.perf_counter() + 2 * arguments.seconds
    while time.perf_counter() < until:
        for name, trainer in trainers.items():
            times[name].append(seconds_per_step(trainer, 40))
    result: dict[str, Any] = {"machine": describe("torch"), "models": {}}
    for name, trainer in trainers.items():
        config = trainer.config
        step_s = statistics.median(times[name])
        rate = config.train.batch_bytes / step_s / 1e3
        per_byte = train_per_byte(config, config.train.window)
        result["models"][name] = {"kB_per_s": rate, "step_s": step_s, "train_flops_per_byte": per_byte}
        print(f"{name:28} {rate:6.1f} kB/s  {step_s * 1e3:6.1f} ms a step  {per_byte / 1e6:.2f} MFLOP a byte")
    share = ngram_seconds(trainers["tiny"]) / result["models"]["tiny"]["step_s"]
    result["ngram_share_of_step"] = share
    print(f"n-gram distributions: {share:.1%} of a step, on one thread beside it")
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
