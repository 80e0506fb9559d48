"""What prediction adds to a step: the lookahead and the dynamics model, against the same trainer without them.

Usage: ``python benchmarks/overhead.py [--preset speed] [--steps 200] [--block 20] [--set KEY=VALUE ...] [--json
PATH]``. Three trainers of the same preset and text take turns in one process, a block of steps at a time: nothing
predicted, micro without the dynamics model, micro with it. Median seconds a step of each, ratios to the first, and the
share of the time inside the dynamics model. ``--cycles N`` instead runs N cycles of jump and correction and prints the
peak memory after 20 and after N of them.
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
    watched = trainers["micro, dynamics model"]
    share = observing(watched, block)
    parameters = sum(p.numel() for p in watched.model.parameters())
    return {
        "preset": preset,
        "settings": list(settings),
        "parameters": parameters,
        "device": torch.cuda.get_device_name() if watched.placement.device.type == "cuda" else "cpu",
        "step_s": step_s,
        "ratio": {name: value / first for name, value in step_s.items()},
        "observing_share": share,
    }


def observing(trainer: Trainer, steps: int) -> float:
    """Share of the time that goes into the dynamics model: inner products, observation, learning and forecast.

    Timed inside the step, with the device waited for before and after: smaller than what two runs differ by.
    """
    predictor = trainer.predictor
    assert predictor is not None
    real, inside = predictor.observe, 0.0

    def observe(running: Trainer) -> None:
        nonlocal inside
        wait(trainer)
        begun = time.perf_counter()
        real(running)
        wait(trainer)
        inside += time.perf_counter() - begun

    predictor.observe = observe  # type: ignore[method-assign]
    wait(trainer)
    begun = time.perf_counter()
    for _ in range(max(steps, trainer.config.dynamics.every_steps * trainer.config.dynamics.gram_every)):
        advance(trainer)
    wait(trainer)
    predictor.observe = real  # type: ignore[method-assign]
    return inside / (time.perf_counter() - begun)


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
