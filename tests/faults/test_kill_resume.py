"""kill -9 at ten random moments: the run that comes of it is, bit for bit, the one that nobody touched."""

from __future__ import annotations

import random
import time
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
import torch
from support.attempts import fork_server, start
from support.hybrid import HYBRID
from support.runs import configure

from neat.config.show import dump_toml
from neat.events.reader import effective, read_events
from neat.events.schema import Event
from neat.train import checkpoint
from neat.train.loop import run

STEPS = 80
ALONE = {"predict__micro": False, "predict__jumps": "off"}
KILLS = 10
# Every phase within a few steps; literal jumps are accepted where macro ones seldom are.
CYCLES = {"train__max_steps": STEPS, "predict__jumps": "literal", "predict__predict_steps": 3, "predict__full_steps": 3}
START_LIMIT_S = 120


def losses(events: list[Event]) -> list[tuple[int, object]]:
    """Step and loss of every event that counts."""
    return [(event.step, event.data["train/loss"]) for event in effective(events) if event.type == "step"]


def moves(events: list[Event]) -> list[tuple[object, object, object]]:
    """Step, origin and reason of every move of hybrid prediction that counts, refused ones too."""
    found = [event for event in effective(events) if event.type == "phase"]
    return [(event.step, event.data["from"], event.data["reason"]) for event in found]


def events(root: Path) -> list[Event]:
    """What the run has told so far."""
    path = root / "events.jsonl"
    return list(read_events(path)) if path.exists() else []


def kill_at(process: ForkServerProcess, root: Path, step: int, delay_s: float) -> None:
    """Kills an attempt `delay_s` after it reported `step` itself."""
    until, before = time.monotonic() + START_LIMIT_S, len(events(root))
    try:
        while not any(event.type == "step" and event.step >= step for event in events(root)[before:]):
            assert process.is_alive(), f"ended before step {step} with exit code {process.exitcode}"
            assert time.monotonic() < until, f"step {step} did not come"
            time.sleep(0.002)
        time.sleep(delay_s)
    finally:
        process.kill()
        process.join()


@pytest.mark.faults
@pytest.mark.parametrize(
    ("changes", "kills"),
    [
        ({}, KILLS),
        ({**HYBRID, **CYCLES}, 8),
        ({"train__patch_curriculum": [[0.4, 6.0]], "optim__name": "gpa", "optim__ema_decay": 0.0, **ALONE}, 4),
    ],
    ids=["defaults", "jumps", "patch curriculum, gpa"],
)
def test_killed_runs_equal_an_unbroken_one(
    corpus: Path, tmp_path: Path, changes: dict[str, object], kills: int
) -> None:
    basics: dict[str, object] = {"train__max_steps": STEPS, "checkpoint__every_steps": 7, "train__sample_bytes": 0}
    settings = configure(corpus, **(basics | changes))
    config = tmp_path / "run.toml"
    config.write_text(dump_toml(settings), encoding="utf-8")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(settings, whole) == 0

    chooser, processes = random.Random(9), fork_server()
    # Between two reports lie data, both passes, the update and, every seventh step, the files of a checkpoint.
    for step in sorted(chooser.sample(range(1, STEPS - 12), kills)):
        attempt = start(processes, str(config), str(broken))
        kill_at(attempt, broken, step, chooser.uniform(0, 0.03))
    last = start(processes, str(config), str(broken))
    last.join(START_LIMIT_S)
    assert last.exitcode == 0

    found = events(broken)
    assert sum(event.type == "resume" for event in found) == kills
    assert len(losses(events(whole))) == STEPS
    assert losses(found) == losses(events(whole))
    assert moves(found) == moves(events(whole))
    if "predict__jumps" in changes and changes["predict__jumps"] != "off":
        assert {phase for _, phase, _ in moves(found)} == {"WARMUP", "FULL", "PREDICT", "CORRECT"}
    for name in (checkpoint.MODEL, checkpoint.AVERAGE, checkpoint.OPTIMIZER, checkpoint.PREDICT):
        left, right = (checkpoint.read_tensors(checkpoint.find(root), name) for root in (whole, broken))
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left), name
    left_behind = [path.name for path in (broken / "checkpoints").iterdir() if not path.name.startswith("step-")]
    assert not left_behind
