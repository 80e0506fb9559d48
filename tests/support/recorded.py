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


HOSTILE = (
    "</pre></title></style><script>alert(1)</script><img src=x onerror=alert(2)>\n```\n# head\n\x00\x1b[31m\u202e & \"'"
)
"""Text that breaks out of everything that does not escape it."""


def eventful(count: int = 400, start: int = 0) -> list[Entry]:
    """Events of every type that training a small network on one processor does not write, behind step `start`.

    All numbers are invented; the shape is that of docs/run-directory.md.
    """
    spread = random.Random(5)
    entries: list[Entry] = [_move(0, "WARMUP", "FULL", "confidence 0.2 is below 0.6", accepted=False)]
    entries.append(_move(60, "WARMUP", "FULL", "warm-up is over"))
    for step in range(1, count + 1):
        bpb = 1.4 + 6.6 * math.exp(-step / 60) + spread.gauss(0, 0.06)
        entries.append(("step", step, _metrics(step, count, bpb, spread)))
        if step % 50 == 0:
            entries += _saved(step, bpb)
        if step % 20 == 0:
            entries.append(("dynamics", step, _forecasts(step, bpb, spread)))
        if step % 8 == 0:
            entries.append(("system", step, _machine(step, spread)))
        if step > 60 and step % 40 == 0:
            entries += _jump(step, bpb, accepted=step % 80 == 0)
        if step > 60 and step % 40 == 8:
            entries += _correction(step, spread)
        if step % 16 == 0:
            entries.append(_move(step, "FULL", "PREDICT", "the credit ledger is spent", accepted=False))
    entries += [*_rare(count), ("end", count, {"reason": "finished", "exit_code": 0})]
    return [(kind, start + step, data) for kind, step, data in entries]


def _move(step: int, before: str, after: str, reason: str, *, accepted: bool = True) -> Entry:
    return ("phase", step, {"from": before, "to": after, "accepted": accepted, "reason": reason, "length": 32})


def _metrics(step: int, count: int, bpb: float, spread: random.Random) -> dict[str, object]:
    return {
        "train/loss": bpb * math.log(2), "train/bpb": bpb, "train/bytes": 2048 * step, "train/total_steps": count,
        "train/window": 128 if step < 80 else 512, "train/skipped_steps": 0, "train/phase": "FULL",
        "optim/lr": 0.01 * min(1, step / 30, (count + 1 - step) / 150),
        "optim/grad_norm": 3 / step**0.3 * spread.uniform(0.8, 1.4), "perf/backward_passes": step,
        "perf/bytes_per_s": 24000 + spread.gauss(0, 900), "perf/step_s": 0.085, "data/padding": 0.07,
        "predict/delta_norm": 0.02 * spread.random(), "data/epoch": step / 900, "data/wait_s": 0.001 * step,
        "patch/mean_length": 4.2,
    }  # fmt: skip


def _saved(step: int, bpb: float) -> list[Entry]:
    score = {"eval/bpb": bpb + 0.08, "eval/ngram_bpb": 1.7416, "eval/bytes": 74708, "eval/documents": 5}
    entries: list[Entry] = [
        ("eval", step, {**score, "eval/seconds": 2.0}),
        ("checkpoint", step, {"path": f"step-{step:08d}", "bytes": 56_448_399, "save_s": 0.58}),
    ]
    for attempt, state in enumerate(("queued", "started", "retry", "done")):
        told = {"reason": "the connection broke", "wait_s": 5.0} if state == "retry" else {}
        sent = {"state": state, "repo": "someone/model", "checkpoint": step, "attempt": attempt, "bytes": 40_000_000}
        entries.append(("upload", step, sent | told))
    return entries


def _forecasts(step: int, bpb: float, spread: random.Random) -> dict[str, object]:
    loss, known = bpb * math.log(2), step > 100
    return {
        "horizons": [20, 100], "forecast/mean": [loss - 0.05, loss - 0.15], "forecast/sigma": [0.05, 0.11],
        "forecast/epistemic": [0.01, 0.02], "forecast/fit": [loss - 0.02, loss - 0.1],
        "forecast/corrected": [loss - 0.06, loss - 0.16], "model/nll": 2 / step**0.5, "model/kl": 1 / step**0.5,
        "model/grad_norm": spread.random(), "error/mae": [0.03, 0.06 if known else None],
        "error/mae_fit": [0.05, 0.09 if known else None], "error/mae_corrected": [0.02, 0.04 if known else None],
        "coverage": [0.91, 0.84 if known else None], "interval": 0.9, "count": [step // 20, step // 100],
        "gain": [0.3, 0.1, 0.0],
        "kinds": ["hidden matrices", "embeddings", "vectors"], "credit/mean": [0.001, 0.004],
        "credit/probability": [0.6, 0.7],
    }  # fmt: skip


def _machine(step: int, spread: random.Random) -> dict[str, object]:
    return {
        "gpu/0/utilisation": min(100.0, spread.gauss(93, 4)), "gpu/0/memory_used_bytes": 9.5e9,
        "gpu/0/memory_total_bytes": 2.4e10, "gpu/0/power_w": spread.gauss(280, 12), "gpu/0/power_limit_w": 350.0,
        "gpu/0/temperature_c": min(71.0, 40 + step / 8), "gpu/0/throttle": [], "gpu/0/name": "Invented GPU",
        "host/cpu": spread.uniform(40, 70), "host/memory_used_bytes": 8e9, "host/memory_total_bytes": 3.2e10,
        "host/process_bytes": 3e9 + 1e6 * step, "disk/free_bytes": 1e11,
    }  # fmt: skip


def _jump(step: int, bpb: float, *, accepted: bool) -> list[Entry]:
    reason = "gain 0.004 is above two standard errors" if accepted else "gain is within its error"
    tried = {
        "mode": "macro", "accepted": accepted, "reason": reason, "horizon": 20, "share": 0.5 if accepted else 0.0,
        "delta_norm": 0.31, "keys": 40, "candidates": [[0.25, 0.002, 0.001], [0.5, 0.004, 0.001]],
        "forecast/loss": bpb * math.log(2) - 0.02, "forecast/sigma": 0.02, "phase/confidence": 0.71,
        "credit/expected": 0.004, "credit/spent_steps": step / 100, "credit/cap_steps": step / 50,
        "weights/before": "aa", "weights/after": "bb" if accepted else "aa",
    }  # fmt: skip
    arrived = _move(step, "FULL", "PREDICT", "confidence 0.71")
    return [arrived, ("jump", step, tried), _move(step, "PREDICT", "CORRECT", "one jump a visit")]


def _correction(step: int, spread: random.Random) -> list[Entry]:
    found = {
        "steps": 8, "residual_norm": 0.2, "residual_cosine": 0.4, "correction": 0.1, "correction_norm": 0.02,
        "credit": spread.gauss(0.002, 0.003), "credit/total": step * 1e-4, "error/before": 0.03 * spread.random(),
        "error/after": 0.02 * spread.random(), "store": step // 40,
    }  # fmt: skip
    return [("correct", step, found), _move(step, "CORRECT", "FULL", "the residual is settled")]


def _rare(count: int) -> list[Entry]:
    back = {
        "reason": "loss is 4.1 deviations above its forecast", "signal": "loss", "severity": 4.1, "count": 1,
        "limit": 3, "snapshot_step": 280, "weights": "cc", "lr_scale": 0.5, "horizon_scale": 0.5,
    }  # fmt: skip
    entries: list[Entry] = [("rollback", 290, back), ("alert", 290, {"severity": "warning", "message": "a spike"})]
    for name, loss in (("optim.lr", 1.62), ("optim.momentum", 1.66), ("optim.adamw_lr", 1.64)):
        outcome = "kept" if loss < 1.65 else "dropped"
        tuned = {"purpose": "tune", "name": name, "changes": {name: 0.02}, "steps": 10, "loss": loss, "baseline": 1.65}
        entries.append(
            ("probe", 30, {**tuned, "outcome": outcome, "reason": "lower loss" if loss < 1.65 else "no gain"})
        )
    entries.append(("request", count, {"request": "note", "outcome": "done", "text": "<b>well</b>", "by": "me"}))
    measures = {"distinct_4": 0.9, "longest_run": 2, "top_byte_share": 0.19}
    return [*entries, ("sample", count, {"prompt": "Once upon ", "text": HOSTILE, **measures})]
