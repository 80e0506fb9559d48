"""What prediction adds to a step: the lookahead and the dynamics model, against the same trainer without them.

Usage: ``python benchmarks/overhead.py [--preset speed] [--steps 200] [--block 20] [--set KEY=VALUE ...] [--json
PATH]``. Three trainers of the same preset and text take turns in one process, a block of steps at a time: nothing
predicted, micro without the dynamics model, micro with it. Median seconds a step of each, and ratios to the first.
``--cycles N`` instead runs N cycles of jump and correction and prints the peak memory after 20 and after N of them.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from machine import describe

from neat.config.load import load
from neat.train.build import build
from neat.train.loop import train_step
from neat.train.phases import Phase
from neat.train.state import Trainer

ARMS: dict[str, tuple[str, ...]] = {
    "nothing predicted": ("predict.micro=false", "predict.jumps=off"),
    "micro": ("predict.micro=true", "predict.jumps=off", "dynamics.on=false"),
    "micro, dynamics model": ("predict.micro=true", "predict.jumps=off", "dynamics.on=true"),
}
CYCLING = (
    "predict.jumps=macro", "predict.warmup_steps=20", "predict.full_steps=2", "predict.correct_steps=2",
    "predict.window=2", "predict.min_confidence=0", "predict.cost_cap=1", "predict.probe_batches=1",
    "optim.warmup_share=0",
)  # fmt: skip
FEW = 20


def start(preset: str, settings: tuple[str, ...], steps: int) -> Trainer:
    """A fresh trainer."""
    length = ["train.budget=", "train.max_bytes=0", f"train.max_steps={steps}", "predict.warmup_steps=2"]
    return build(load(preset, [*length, *settings]).config)


def advance(trainer: Trainer) -> None:
    """One step as the training loop takes it."""
    train_step(trainer, *trainer.next_batch())
    if trainer.predictor is not None:
        trainer.predictor.advance(trainer)
        trainer.predictor.told.events.clear()


def wait(trainer: Trainer) -> None:
    """Until the device has done its work."""
    if trainer.placement.device.type == "cuda":
        torch.cuda.synchronize()


def overhead(preset: str, settings: tuple[str, ...], steps: int, block: int) -> dict[str, Any]:
    """Median seconds a step of each arm, taking turns."""
    trainers = {name: start(preset, (*settings, *own), steps) for name, own in ARMS.items()}
    times: dict[str, list[float]] = {name: [] for name in ARMS}
    for turn in range(steps // block):
        for name, trainer in trainers.items():
            wait(trainer)
            begun = time.perf_counter()
            for _ in range(block):
                advance(trainer)
            wait(trainer)
            if turn:
                times[name].append((time.perf_counter() - begun) / block)
    step_s = {name: statistics.median(values) for name, values in times.items()}
    first = step_s["nothing predicted"]
    added = [c / b - 1 for b, c in zip(times["micro"], times["micro, dynamics model"], strict=True)]
    parameters = sum(p.numel() for p in next(iter(trainers.values())).model.parameters())
    return {
        "preset": preset,
        "settings": list(settings),
        "parameters": parameters,
        "device": str(next(iter(trainers.values())).placement.device),
        "step_s": step_s,
        "ratio": {name: value / first for name, value in step_s.items()},
        "dynamics_share": statistics.median(added),
    }


def memory(preset: str, settings: tuple[str, ...], cycles: int) -> dict[str, Any]:
    """Peak memory after 20 cycles and after `cycles`."""
    trainer = start(preset, (*CYCLING, *settings), 100 * cycles)
    done, few, phase = 0, 0, Phase.WARMUP
    while done < cycles:
        advance(trainer)
        assert trainer.predictor is not None
        trainer.predictor.ledger.off = ""
        before, phase = phase, trainer.predictor.phase
        done += before is Phase.CORRECT and phase is Phase.FULL
        if done == FEW and not few:
            few = peak(trainer)
        if trainer.step > 50 * cycles and not done:
            raise SystemExit("no jump was ever accepted with these settings")
    many = peak(trainer)
    return {"preset": preset, "cycles": cycles, "peak_few_bytes": few, "peak_bytes": many, "ratio": many / few}


def peak(trainer: Trainer) -> int:
    """Peak memory of the device, or of the process on a CPU, in bytes."""
    if trainer.placement.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="speed")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--block", type=int, default=20)
    parser.add_argument("--cycles", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    settings = tuple(arguments.set)
    if arguments.cycles:
        found = memory(arguments.preset, settings, arguments.cycles)
    else:
        found = overhead(arguments.preset, settings, arguments.steps, arguments.block)
    record = {"machine": describe("torch"), **found}
    print(json.dumps(record, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
