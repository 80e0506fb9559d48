"""Whole small trainings in worker processes, for the benchmarks that compare settings.

A variant is a list of settings over the `tiny` preset, a seed, and perhaps a control that replaces what a jump moves
along. Every run decays its learning rate to zero and is scored on all held-out text with the weights that it ends
with; where an optimizer has a read-out of its own (schedule-free, GPA), with that. Backward passes are counted by the
trainer's hook.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from machine import describe
from torch import Tensor

from neat.config.load import load
from neat.config.schema import Config
from neat.data.pipeline import Text, open_text
from neat.train import build as building
from neat.train.loop import train_step
from neat.train.predict.jump import Jump
from neat.train.predict.ledger import Ledger
from neat.train.report import evaluation_weights, text_model
from neat.train.state import Trainer

SMALL = (
    "train.budget=",
    "train.window=128",
    "train.curriculum=[]",
    "train.batch_bytes=2048",
    "network.width=96",
    "network.ffn_width=256",
    "network.heads=3",
    "network.kv_heads=3",
    "network.local_width=64",
    "network.decoder_ffn_width=128",
    "network.hash_orders=[]",
    "network.ngram_features=false",
    "ngram.order=4",
    "ngram.folds=2",
    "optim.ema_decay=0",
    "optim.clip_norm=1.0",
    "optim.warmup_share=0.1",
    "optim.decay_share=0.3",
    "runtime.dtype=float32",
    "predict.micro=false",
    "predict.jumps=off",
    "predict.warmup_steps=30",
    "dynamics.every_steps=5",
    "dynamics.horizons=[5, 15, 50]",
)
"""A network of 0.4 M parameters on the text of the tiny preset: seconds a run, and the parts of the real one."""

Control = str
"""Name of a replacement of the direction or the size of a jump; empty for none."""


@cache
def _text(key: str) -> Text:
    return open_text(load("tiny", json.loads(key)).config)


def _open_text(config: Config) -> Text:
    """The text of a configuration, opened once a process for all that read the same."""
    data, patcher, ngram = config.data, config.patcher, config.ngram
    settings = [f"seed={config.seed}", f"train.window={config.train.window}", "train.curriculum=[]"]
    settings += [f"ngram.order={ngram.order}", f"ngram.folds={ngram.folds}"]
    settings += [f"patcher.mean_length={patcher.mean_length}", f"patcher.max_length={patcher.max_length}"]
    settings += [
        f"data.sources={json.dumps(list(data.sources))}",
        f"data.validation={json.dumps(list(data.validation))}",
    ]
    settings += [
        f"network.hash_orders={list(config.network.hash_orders)}",
        f"network.hash_rows={config.network.hash_rows}",
    ]
    settings += [f"network.ngram_features={json.dumps(config.network.ngram_features)}"]
    settings += [f"network.patches={json.dumps(config.network.patches)}"]
    return _text(json.dumps(settings))


def make(settings: Iterable[str], seed: int) -> Trainer:
    """A trainer of a variant."""
    building.open_text = _open_text
    return building.build(load("tiny", [*SMALL, *settings, f"seed={seed}"]).config)


def run(settings: list[str], seed: int, control: Control = "", threads: int = 1) -> dict[str, Any]:
    """Trains one variant to its end; returns what was measured."""
    torch.set_num_threads(threads)
    trainer = make(settings, seed)
    if control:
        CONTROLS[control](trainer)
    outcomes = {"accepted": 0, "refused": 0, "rollback": 0}
    start = time.perf_counter()
    while trainer.step < trainer.horizon.total:
        batch, scored = trainer.next_batch()
        train_step(trainer, batch, scored)
        if trainer.predictor is None:
            continue
        trainer.predictor.advance(trainer)
        for kind, data in trainer.predictor.told.drain():
            if kind == "jump":
                outcomes["accepted" if data["accepted"] else "refused"] += 1
            outcomes["rollback"] += kind == "rollback"
    seconds = time.perf_counter() - start
    with evaluation_weights(trainer):
        score = text_model(trainer).score([document for document in trainer.text.validation if document])
    trainer.stream.close()
    return {
        "bpb": score.bpb,
        "steps": trainer.step,
        "backward_passes": trainer.backward_passes,
        "seconds": round(seconds, 3),
        "probe_steps": trainer.predictor.ledger.spent_steps if trainer.predictor is not None else 0.0,
        "jumps": outcomes,
        "skipped": trainer.guard.skipped,
    }


def _random_direction(trainer: Trainer) -> None:
    """Jumps go in a random direction of the same norm, tensor by tensor."""
    path = _path(trainer)
    real, generator = path.displacement, torch.Generator().manual_seed(trainer.config.seed)

    def displacement() -> list[Tensor]:
        found = real()
        drawn = [torch.randn(d.shape, generator=generator).to(d.device) for d in found]
        return [r * (d.norm() / r.norm().clamp(min=1e-30)) for r, d in zip(drawn, found, strict=True)]

    path.displacement = displacement  # type: ignore[method-assign]


def _no_move(trainer: Trainer) -> None:
    """Probes and phases as usual, but nothing is ever moved: what the gate alone costs and changes."""
    _path(trainer).displacement = lambda: [torch.zeros_like(w) for w in _path(trainer).weights]  # type: ignore[method-assign]


class Unjudged(Ledger):
    """A ledger that keeps jumps on, whatever they bring."""

    def credit(self, nats: float) -> None:
        """Books a finished jump."""
        self.credits.append(nats)


def _fixed_rule(trainer: Trainer) -> None:
    """The gate is replaced by a rule: every jump goes half the displacement, whatever the probe says."""
    predictor, path = trainer.predictor, _path(trainer)
    assert predictor is not None
    real = predictor.try_jump

    def try_jump(running: Trainer, longest: float) -> Jump:
        made = real(running, longest)
        path.move(made.delta, 0.5 - made.share)
        made.share, made.reason = 0.5, "a fixed rule"
        return made

    predictor.try_jump = try_jump  # type: ignore[method-assign]
    predictor.ledger = Unjudged()


def _path(trainer: Trainer) -> Any:
    assert trainer.predictor is not None and trainer.predictor.path is not None
    return trainer.predictor.path


CONTROLS: dict[str, Callable[[Trainer], None]] = {
    "random": _random_direction,
    "freeze": _no_move,
    "fixed": _fixed_rule,
}


class Results:
    """Cells that are measured once and kept in a JSON file; each is found by its settings, seed and control."""

    def __init__(self, path: Path | None, workers: int) -> None:
        self.path, self.workers = path, workers
        self.cells: dict[str, dict[str, Any]] = {}
        if path is not None and path.exists():
            self.cells = {cell["key"]: cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]}

    def measure(self, wanted: Iterable[tuple[list[str], int, Control]]) -> None:
        """Runs what is not measured yet, several at once, and saves after each."""
        missing = {key(*cell): cell for cell in wanted if key(*cell) not in self.cells}
        if not missing:
            return
        with ProcessPoolExecutor(self.workers, mp_context=get_context("forkserver"), max_tasks_per_child=None) as pool:
            futures = {pool.submit(run, *cell): (name, cell) for name, cell in missing.items()}
            for number, future in enumerate(as_completed(futures), start=1):
                name, (settings, seed, control) = futures[future]
                try:
                    found = future.result()
                except Exception as error:  # noqa: BLE001 - one bad setting must not lose the others
                    found = {"bpb": None, "error": f"{type(error).__name__}: {error}"[:300]}
                self.cells[name] = {"key": name, "settings": settings, "seed": seed, "control": control, **found}
                print(f"{number}/{len(missing)} {name}: {found['bpb']}", file=sys.stderr, flush=True)
                self.save()

    def bpb(self, settings: list[str], seed: int, control: Control = "") -> float | None:
        """The score of a cell; None where it failed or was not run."""
        cell = self.cells.get(key(settings, seed, control))
        return None if cell is None else cell["bpb"]

    def cell(self, settings: list[str], seed: int, control: Control = "") -> dict[str, Any]:
        """All that was measured of a cell."""
        return self.cells.get(key(settings, seed, control), {})

    def save(self, **summary: object) -> None:
        """Writes the file."""
        if self.path is not None:
            record = {"machine": describe("torch"), "base": list(SMALL), **summary, "cells": list(self.cells.values())}
            self.path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def key(settings: list[str], seed: int, control: Control) -> str:
    """Name of a cell."""
    return " ".join([*settings, f"seed={seed}"] + ([f"control={control}"] if control else []))
