"""A recorded real run, and the same run with events that only other set-ups write, made up for tests.

The recording is in `tests/golden/monitor/recorded`: `tiny-full` on two CPU cores, killed after step 130 and gone on
from the checkpoint of step 120. Nothing in it is made up. `with_made_up_events` copies it and adds what hybrid
prediction, a GPU, uploads and a person at the keyboard would write. Those figures are TEST DATA: no run measured them.
"""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from neat.events.reader import read_events
from neat.events.schema import Event, encode

RECORDED = Path(__file__).resolve().parents[1] / "golden" / "monitor" / "recorded"
CYCLE = 30
"""Steps between two made-up predictions, from step 60 on."""
GIB = 2**30


def copy_recorded(folder: Path) -> Path:
    """A run directory with the recording as it is."""
    folder.mkdir(parents=True)
    for name in ("events.jsonl", "run.json", "config.toml"):
        shutil.copy(RECORDED / name, folder / name)
    return folder


def with_made_up_events(folder: Path) -> Path:
    """A run directory with the recording and the made-up events."""
    copy_recorded(folder)
    record = json.loads((folder / "run.json").read_text())
    record["made_up_for_tests"] = (
        "phase, jump, correct, rollback, dynamics, probe, request, upload, alert; gpu/ of system"
    )
    (folder / "run.json").write_text(json.dumps(record, indent=2))
    lines = [encode(event) for event in _numbered(_interleaved(RECORDED / "events.jsonl"))]
    (folder / "events.jsonl").write_bytes(b"".join(lines))
    return folder


def _numbered(events: Iterator[Event]) -> Iterator[Event]:
    for seq, event in enumerate(events, 1):
        yield Event(seq, event.time, event.mono, event.type, event.step, event.data)


def _interleaved(path: Path) -> Iterator[Event]:
    chooser = random.Random(5)
    for event in read_events(path):
        if event.type == "system":
            data = dict(event.data) | _gpu(event.step, chooser)
            yield Event(event.seq, event.time, event.mono, event.type, event.step, data)
            continue
        yield event
        made = {"step": _of_step, "checkpoint": _uploads}.get(event.type)
        for kind, data in made(event, chooser) if made else ():
            yield Event(0, event.time, event.mono, kind, event.step, data)


def _of_step(event: Event, chooser: random.Random) -> Iterator[tuple[str, dict[str, object]]]:
    step, loss = event.step, float(event.data["train/loss"])  # type: ignore[arg-type]
    if step == 24:
        yield (
            "phase",
            _move("WARMUP", "FULL", "10 % of the steps are done, the loss falls and 24 forecasts came due", 24),
        )
    if step == 52:
        yield "phase", _move("FULL", "PREDICT", "confidence 0.41 below 0.60", 28, accepted=False)
    if step == 70:
        yield "request", {"request": "note", "outcome": "done", "text": "looks fine so far", "by": "test@host"}
    if step == 96:
        yield (
            "alert",
            {"severity": "warning", "message": "an update with a loss or gradient that is not finite was skipped"},
        )
    if step == 200:
        yield "probe", _probe(loss)
    if step > 24 and step % 10 == 0:
        yield "dynamics", _dynamics(step, loss, chooser)
    if step >= 60 and step % CYCLE == 0:
        yield from _cycle(step, loss, chooser)


def _cycle(step: int, loss: float, chooser: random.Random) -> Iterator[tuple[str, dict[str, object]]]:
    accepted = step % (2 * CYCLE) == 0
    gain = chooser.uniform(0.004, 0.02) if accepted else -0.003
    jump = {
        "mode": "macro", "accepted": accepted, "horizon": 8, "share": 0.5 if accepted else 0.0,
        "reason": "the probe gained 3.1 standard errors" if accepted else "no share gained enough",
        "delta_norm": 0.31, "keys": 42, "candidates": [[0.25, gain / 2, 0.002], [0.5, gain, 0.003]],
        "forecast/loss": loss * 0.98, "forecast/sigma": 0.02, "phase/confidence": 0.7 + 0.001 * step,
        "credit/expected": gain, "credit/spent_steps": 0.2 + step / 400, "credit/cap_steps": 2.4,
        "weights/before": "1f0c" * 8, "weights/after": "77ab" * 8,
    }  # fmt: skip
    yield "phase", _move("FULL", "PREDICT", "confidence 0.72 above 0.60 and credit is left", CYCLE)
    yield "jump", jump
    if not accepted:
        yield "phase", _move("PREDICT", "FULL", "the jump was refused", 1)
        return
    yield "phase", _move("PREDICT", "CORRECT", "a jump of 8 steps was applied", 1)
    if step == 180:
        yield "rollback", {
            "reason": "loss 4.2 standard deviations above the forecast", "signal": "forecast", "severity": 2,
            "count": 1, "limit": 3, "snapshot_step": 180, "weights": "1f0c" * 8, "lr_scale": 0.5, "horizon_scale": 0.5,
        }  # fmt: skip
    yield "correct", {
        "steps": 4, "residual_norm": 0.12, "residual_cosine": 0.83, "correction": 0.1, "correction_norm": 0.01,
        "credit": gain * 0.8, "credit/total": gain * step / CYCLE, "error/before": 0.03, "error/after": 0.02,
        "store": 3,
    }  # fmt: skip
    yield "phase", _move("CORRECT", "FULL", "the residual is known", 4)


def _move(before: str, after: str, reason: str, length: int, *, accepted: bool = True) -> dict[str, object]:
    return {"from": before, "to": after, "accepted": accepted, "reason": reason, "length": length}


def _dynamics(step: int, loss: float, chooser: random.Random) -> dict[str, object]:
    horizons = [4, 8, 16, 32]
    mean = [loss * (1 - 0.002 * ahead) for ahead in horizons]
    error = [0.01 * math.sqrt(ahead) * chooser.uniform(0.8, 1.2) for ahead in horizons]
    known = step > 40
    return {
        "horizons": horizons, "forecast/mean": mean, "forecast/sigma": [0.02 * math.sqrt(ahead) for ahead in horizons],
        "forecast/epistemic": [0.005] * 4, "forecast/fit": [value * 1.01 for value in mean], "forecast/corrected": mean,
        "model/nll": 2.0 - step / 200, "model/kl": 0.1, "model/grad_norm": 0.6, "interval": 0.8, "count": step // 4,
        "error/mae": error if known else [None] * 4,
        "error/mae_fit": [value * 1.3 for value in error] if known else [None] * 4,
        "error/mae_corrected": [value * 0.95 for value in error] if known else [None] * 4,
        "coverage": [0.81, 0.78, 0.74, 0.62] if known else [None] * 4,
        "gain": [0.9, 0.7, 0.4, -0.1], "kinds": ["hidden", "embedding", "head", "vector"],
        "credit/mean": [0.004, 0.009], "credit/probability": [0.7, 0.8],
    }  # fmt: skip


def _probe(loss: float) -> dict[str, object]:
    return {
        "purpose": "tune", "name": "optim.lr x 1.4", "changes": [["optim.lr", 0.014]], "steps": 20, "loss": loss * 1.02,
        "baseline": loss, "outcome": "kept the old value", "reason": "the change lost by 2 standard errors",
    }  # fmt: skip


def _uploads(event: Event, chooser: random.Random) -> Iterator[tuple[str, dict[str, object]]]:
    common = {"repo": "somebody/tiny-full", "checkpoint": event.step}
    if event.step in (60, 180):
        yield "upload", common | {"state": "queued"}
        yield "upload", common | {"state": "started", "attempt": 1, "bytes": 40_000_000}
        yield "upload", common | {"state": "retry", "attempt": 1, "reason": "503 Service Unavailable", "wait_s": 4.0}
        yield "upload", common | {"state": "done", "attempt": 2, "bytes": 40_000_000, "commit": "9b1d" * 10}
    if event.step == 240:
        yield "upload", common | {"state": "failed", "attempt": 5, "reason": "401 Unauthorized"}


def _gpu(step: int, chooser: random.Random) -> dict[str, object]:
    busy = min(1.0, 0.9 + chooser.uniform(-0.05, 0.08))
    return {
        "gpu/0/name": "Made-up GPU", "gpu/0/utilisation": round(busy, 2),
        "gpu/0/memory_used_bytes": int((20 + step / 60) * GIB),
        "gpu/0/memory_total_bytes": 80 * GIB, "gpu/0/power_w": round(480 + 40 * busy, 1), "gpu/0/power_limit_w": 700.0,
        "gpu/0/temperature_c": 55 + step // 20, "gpu/0/throttle": ["power cap"] if step > 200 else [],
    }  # fmt: skip
