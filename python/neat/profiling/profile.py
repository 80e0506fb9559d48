"""Where the time of a training step goes: a table per part of the network and of the step around it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from neat.config.schema import Config
from neat.train.build import build
from neat.train.loop import train_step
from neat.train.state import Trainer
from neat.train.timer import OTHER, PartTimer

WARMUP_STEPS = 3


def profile(config: Config, steps: int) -> dict[str, Any]:
    """Takes `steps` real training steps, uncompiled, after three that are not counted; nothing is saved.

    Returns:
        `step_s`, `bytes_per_s` and `parts`: seconds per step and share of the step by label; labels add up to the step.
    """
    runtime = config.runtime.model_copy(update={"compile": "off"})
    trainer = build(config.model_copy(update={"runtime": runtime}))
    trainer.horizon.total = trainer.horizon.total or WARMUP_STEPS + steps
    with PartTimer(trainer.model, trainer.placement.device) as timer:
        _name_stages(trainer, timer)
        for _ in range(WARMUP_STEPS):
            _step(trainer, timer)
        start, seen = time.perf_counter(), trainer.bytes_seen
        timer.switch(OTHER)
        timer.seconds.clear()
        for _ in range(steps):
            _step(trainer, timer)
        timer.switch(OTHER)
        passed = time.perf_counter() - start
    ordered = sorted(timer.seconds.items(), key=lambda row: -row[1])
    return {
        "steps": steps,
        "step_s": passed / steps,
        "bytes_per_s": (trainer.bytes_seen - seen) / passed,
        "parts": {label: {"step_s": s / steps, "share": s / passed} for label, s in ordered},
        "covered": sum(timer.seconds.values()) / passed,
    }


def _step(trainer: Trainer, timer: PartTimer) -> None:
    timer.switch("waiting for data")
    batch, scored = trainer.next_batch()
    timer.switch(OTHER)
    train_step(trainer, batch, scored)


def _name_stages(trainer: Trainer, timer: PartTimer) -> None:
    """The parts of a step that are not modules get labels, too."""
    _label(trainer.optimizers, "step", "optimizer", timer)
    _label(trainer.optimizers, "dense_gradients", "gradient norm", timer)
    _label(trainer.guard, "allows", "gradient norm", timer)
    if trainer.average is not None:
        _label(trainer.average, "update", "averaged weights", timer)


def _label(owner: object, method: str, label: str, timer: PartTimer) -> None:
    original: Callable[..., Any] = getattr(owner, method)

    def labelled(*arguments: Any) -> Any:
        timer.switch(label)
        try:
            return original(*arguments)
        finally:
            # The norm is computed by whoever asked for the gradients, so that label lasts until the next one.
            if label != "gradient norm":
                timer.switch(OTHER)

    setattr(owner, method, labelled)
