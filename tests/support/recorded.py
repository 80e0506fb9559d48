"""Run directories with invented events, written by the real writer: data of tests, of no real run."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from pathlib import Path

from neat.config.load import load
from neat.events.rundir import open_run
from neat.events.schema import Event, encode

Entry = tuple[str, int, dict[str, object]]
"""Type, step, data."""


def write_run(root: Path, entries: Iterable[Entry], overrides: tuple[str, ...] = (), preset: str = "tiny") -> Path:
    """A finished run directory with these events, one a second."""
    with open_run(root, load(preset, [*overrides, 'name="invented"']).config) as run:
        append(run.paths.events, entries)
    return root


def append(path: Path, entries: Iterable[Entry], first: int = 1) -> None:
    """Adds events to a file, numbered from `first`, one a second."""
    with path.open("ab") as file:
        for seq, (kind, step, data) in enumerate(entries, first):
            file.write(encode(Event(seq, 1.8e9 + seq, 1000.0 + seq, kind, step, data)))


def steps(count: int, start: int = 1) -> list[Entry]:
    """`step` events with a loss that falls."""
    return [("step", step, {"train/loss": 4 / step, "train/bpb": 6 / step}) for step in range(start, start + count)]


PHASES = ("WARMUP", "FULL", "PREDICT", "CORRECT")


def eventful(count: int = 400) -> list[Entry]:
    """Events of every type that training on one small machine does not write: invented, in the shape of the contract."""
    entries: list[Entry] = [
        (
            "phase",
            0,
            {"from": "WARMUP", "to": "FULL", "accepted": False, "reason": "confidence 0.2 is below 0.6", "length": 0},
        )
    ]
    entries.append(
        ("phase", 60, {"from": "WARMUP", "to": "FULL", "accepted": True, "reason": "warm-up is over", "length": 60})
    )
    spread = random.Random(5)
    total = 0.0
    for step in range(1, count + 1):
        bpb = 1.4 + 6.6 * math.exp(-step / 60) + spread.gauss(0, 0.06)
        phase = "WARMUP" if step <= 60 else "CORRECT" if step % 40 in range(1, 9) else "FULL"
        entries.append(("step", step, {
            "train/loss": bpb * math.log(2), "train/bpb": bpb, "train/bytes": 2048 * step, "train/total_steps": count,
            "train/window": 128 if step < 80 else 512, "train/skipped_steps": 0, "train/phase": phase,
            "optim/lr": 0.01 * min(1, step / 30, (count + 1 - step) / 150), "optim/grad_norm": 3 / step**0.3 * spread.uniform(0.8, 1.4),
            "perf/backward_passes": step, "perf/bytes_per_s": 24000 + spread.gauss(0, 900), "perf/step_s": 0.085,
            "predict/delta_norm": 0.02 * spread.random(), "data/epoch": step / 900, "data/wait_s": 0.001 * step,
            "data/padding": 0.07, "patch/mean_length": 4.2,
        }))  # fmt: skip
        if step % 50 == 0:
            entries.append(
                (
                    "eval",
                    step,
                    {
                        "eval/bpb": bpb + 0.08,
                        "eval/ngram_bpb": 1.7416,
                        "eval/bytes": 74708,
                        "eval/documents": 5,
                        "eval/seconds": 2.0,
                    },
                )
            )
            entries.append(("checkpoint", step, {"path": f"step-{step:08d}", "bytes": 56_448_399, "save_s": 0.58}))
            for state in ("queued", "started", "retry", "started", "done"):
                entries.append(
                    (
                        "upload",
                        step,
                        {
                            "state": state,
                            "repo": "someone/model",
                            "checkpoint": step,
                            "attempt": 1,
                            "bytes": 40_000_000,
                            "wait_s": 5.0,
                            "reason": "the connection broke" if state == "retry" else "",
                        },
                    )
                )
        if step % 20 == 0:
            entries += _forecasts(step, bpb, spread)
        if step % 8 == 0:
            entries.append(("system", step, _machine(step, spread)))
        if step > 60 and step % 40 == 0:
            accepted = step % 80 == 0
            entries.append(
                (
                    "phase",
                    step,
                    {"from": "FULL", "to": "PREDICT", "accepted": True, "reason": "confidence 0.71", "length": 32},
                )
            )
            entries.append(("jump", step, {
                "mode": "macro", "accepted": accepted, "reason": "gain 0.004 is above two standard errors" if accepted else "gain is within its error",
                "horizon": 20, "share": 0.5 if accepted else 0.0, "delta_norm": 0.31, "keys": 40,
                "candidates": [[0.25, 0.002, 0.001], [0.5, 0.004, 0.001]], "forecast/loss": bpb * math.log(2) - 0.02,
                "forecast/sigma": 0.02, "phase/confidence": 0.71, "credit/expected": 0.004, "credit/spent_steps": step / 100,
                "credit/cap_steps": step / 50, "weights/before": "aa", "weights/after": "bb",
            }))  # fmt: skip
            entries.append(
                (
                    "phase",
                    step,
                    {"from": "PREDICT", "to": "CORRECT", "accepted": True, "reason": "one jump a visit", "length": 0},
                )
            )
        if step > 60 and step % 40 == 8:
            credit = spread.gauss(0.002, 0.003)
            total += credit
            entries.append(("correct", step, {
                "steps": 8, "residual_norm": 0.2, "residual_cosine": 0.4, "correction": 0.1, "correction_norm": 0.02,
                "credit": credit, "credit/total": total, "error/before": 0.03 * spread.random(), "error/after": 0.02 * spread.random(), "store": step // 40,
            }))  # fmt: skip
            entries.append(
                (
                    "phase",
                    step,
                    {
                        "from": "CORRECT",
                        "to": "FULL",
                        "accepted": True,
                        "reason": "the residual is settled",
                        "length": 8,
                    },
                )
            )
        if step % 16 == 0:
            entries.append(
                (
                    "phase",
                    step,
                    {
                        "from": "FULL",
                        "to": "PREDICT",
                        "accepted": False,
                        "reason": "the credit ledger is spent",
                        "length": 16,
                    },
                )
            )
    entries.append(
        (
            "rollback",
            290,
            {
                "reason": "loss is 4.1 deviations above its forecast",
                "signal": "loss",
                "severity": 4.1,
                "count": 1,
                "limit": 3,
                "snapshot_step": 280,
                "weights": "cc",
                "lr_scale": 0.5,
                "horizon_scale": 0.5,
            },
        )
    )
    for name, loss in (("optim.lr", 1.62), ("optim.momentum", 1.66), ("optim.adamw_lr", 1.64)):
        entries.append(
            (
                "probe",
                30,
                {
                    "purpose": "tune",
                    "name": name,
                    "changes": {name: 0.02},
                    "steps": 10,
                    "loss": loss,
                    "baseline": 1.65,
                    "outcome": "kept" if loss < 1.65 else "dropped",
                    "reason": "lower loss" if loss < 1.65 else "no gain",
                },
            )
        )
    entries.append(
        ("request", count, {"request": "note", "outcome": "done", "text": "looks good <b>so far</b>", "by": "me"})
    )
    entries.append(("alert", 290, {"severity": "warning", "message": "the loss jumped"}))
    entries.append(
        (
            "sample",
            count,
            {"prompt": "Once upon ", "text": HOSTILE, "distinct_4": 0.9, "longest_run": 2, "top_byte_share": 0.19},
        )
    )
    entries.append(("end", count, {"reason": "finished", "exit_code": 0}))
    return entries


HOSTILE = (
    "</pre></title></style><script>alert(1)</script><img src=x onerror=alert(2)>\n```\n# head\n\x00\x1b[31m\u202e & \"'"
)
"""Text that breaks out of everything that does not escape it."""


def _forecasts(step: int, bpb: float, spread: random.Random) -> list[Entry]:
    loss = bpb * math.log(2)
    return [("dynamics", step, {
        "horizons": [20, 100], "forecast/mean": [loss - 0.05, loss - 0.15], "forecast/sigma": [0.05, 0.11],
        "forecast/epistemic": [0.01, 0.02], "forecast/fit": [loss - 0.02, loss - 0.1], "forecast/corrected": [loss - 0.06, loss - 0.16],
        "model/nll": 2 / step**0.5, "model/kl": 1 / step**0.5, "model/grad_norm": spread.random(),
        "error/mae": [0.03, 0.06] if step > 100 else [0.03, None], "error/mae_fit": [0.05, 0.09] if step > 100 else [0.05, None],
        "error/mae_corrected": [0.02, 0.04] if step > 100 else [0.02, None], "coverage": [0.91, 0.84] if step > 100 else [0.9, None],
        "interval": 0.9, "count": step // 20, "gain": [0.3, 0.1, 0.0], "kinds": ["hidden matrices", "embeddings", "vectors"],
        "credit/mean": [0.001, 0.004], "credit/probability": [0.6, 0.7],
    })]  # fmt: skip


def _machine(step: int, spread: random.Random) -> dict[str, object]:
    return {
        "gpu/0/utilisation": min(100.0, spread.gauss(93, 4)), "gpu/0/memory_used_bytes": 9.5e9, "gpu/0/memory_total_bytes": 2.4e10,
        "gpu/0/power_w": spread.gauss(280, 12), "gpu/0/power_limit_w": 350.0, "gpu/0/temperature_c": min(71.0, 40 + step / 8),
        "gpu/0/throttle": [], "gpu/0/name": "Invented GPU", "host/cpu": spread.uniform(40, 70), "host/memory_used_bytes": 8e9,
        "host/memory_total_bytes": 3.2e10, "host/process_bytes": 3e9 + 1e6 * step, "disk/free_bytes": 1e11,
    }  # fmt: skip
