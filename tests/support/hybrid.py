"""Runs whose phases last a few steps, so that whole cycles fit into a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neat.train.build import build
from neat.train.loop import train_step
from neat.train.state import Trainer
from support.runs import configure

HYBRID: dict[str, Any] = {
    "train__max_steps": 400,
    "train__curriculum": [],
    "optim__warmup_share": 0.0,
    "optim__decay_share": 0.1,
    "predict__jumps": "macro",
    "predict__warmup_steps": 6,
    "predict__full_steps": 4,
    "predict__correct_steps": 3,
    "predict__window": 4,
    "predict__min_confidence": 0.0,
    "predict__cost_cap": 1.0,
    "predict__probe_batches": 2,
    "dynamics__every_steps": 1,
    "dynamics__event_every": 1,
    "dynamics__gram_every": 1,
    "dynamics__horizons": [1, 2, 4],
    "dynamics__hidden": 8,
    "dynamics__latent": 4,
}


def hybrid(corpus: Path, **changes: object) -> Trainer:
    """A fresh run with short phases."""
    return build(configure(corpus, **(HYBRID | changes)))


def advance(trainer: Trainer, steps: int = 1) -> list[tuple[str, dict[str, object]]]:
    """Takes steps as the training loop does; returns what prediction told."""
    told: list[tuple[str, dict[str, object]]] = []
    for _ in range(steps):
        train_step(trainer, *trainer.next_batch())
        assert trainer.predictor is not None
        trainer.predictor.advance(trainer)
        told.extend(trainer.predictor.told.drain())
    return told


def advance_until(trainer: Trainer, kind: str, limit: int = 300, **data: object) -> dict[str, object]:
    """Takes steps until prediction tells an event of a type with the data given; returns its data."""
    for _ in range(limit):
        for found, values in advance(trainer):
            if found == kind and all(values[key] == value for key, value in data.items()):
                return values
    raise AssertionError(f"no {kind} with {data} in {limit} steps")
