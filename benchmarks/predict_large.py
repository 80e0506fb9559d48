"""The prediction benchmark at the size of the 100m preset, on one GPU: bases, micro and macro, after full decay."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

from machine import describe

from neat.config.load import load
from neat.train.build import build
from neat.train.loop import train_step
from neat.train.report import evaluation_weights, text_model

COMMON = ("vision.on=false", "optim.ema_decay=0", "predict.micro=false", "predict.jumps=off")
ARMS: dict[str, tuple[str, ...]] = {
    "Muon 0.95": ("optim.momentum=0.95",),
    "Muon 0.9": ("optim.momentum=0.9",),
    "Muon 0.9, micro": ("optim.momentum=0.9", "predict.micro=true"),
    "Muon 0.95, micro": ("optim.momentum=0.95", "predict.micro=true"),
    "Muon 0.95, macro": ("optim.momentum=0.95", "predict.jumps=macro"),
}


def large(steps: int, seeds: list[int], path: Path | None, preset: str = "100m", extra: tuple[str, ...] = ()) -> str:
    """Every arm and seed, one after the other; returns a Markdown table.

    Args:
        steps: Updates per run.
        seeds: One run each.
        path: Result file, None for none.
        preset: Preset or TOML file that all arms share.
        extra: Settings of all arms, the training text among them.
    """
    cells: list[dict[str, Any]] = []
    for seed in seeds:
        for arm, settings in ARMS.items():
            cells.append({"arm": arm, "seed": seed, **_run(preset, (*COMMON, *extra, *settings), steps, seed)})
            if path is not None:
                record = {"machine": describe("torch"), "preset": preset, "settings": list(extra), "cells": cells}
                path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    lines = ["| arm | bpb (seeds) | seconds a step | backward passes |", "|---|---|---|---|"]
    for arm in ARMS:
        own = [cell for cell in cells if cell["arm"] == arm]
        scores = " / ".join(f"{cell['bpb']:.4f}" for cell in own)
        step_s = statistics.median(cell["step_s"] for cell in own)
        lines.append(f"| {arm} | {scores} | {step_s:.3f} | {own[0]['backward_passes']} |")
    return "\n".join(lines)


def _run(preset: str, settings: tuple[str, ...], steps: int, seed: int) -> dict[str, Any]:
    overrides = [*settings, "train.max_bytes=0", "train.budget=", f"train.max_steps={steps}", f"seed={seed}"]
    trainer = build(load(preset, overrides).config)
    times = []
    while trainer.step < steps:
        start = time.perf_counter()
        batch, scored = trainer.next_batch()
        train_step(trainer, batch, scored)
        if trainer.predictor is not None:
            trainer.predictor.advance(trainer)
            list(trainer.predictor.told.drain())
        times.append(time.perf_counter() - start)
    with evaluation_weights(trainer):
        score = text_model(trainer).score([document for document in trainer.text.validation if document])
    trainer.stream.close()
    return {
        "bpb": score.bpb,
        "step_s": statistics.median(times[len(times) // 4 :]),
        "backward_passes": trainer.backward_passes,
        "steps": steps,
    }
