"""Whole runs with prediction: noise is refused, a loss that falls is not, and events tell the story."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from support.hybrid import HYBRID
from support.runs import configure

from neat.events.reader import read_events
from neat.events.schema import Event
from neat.train.loop import run

GATED = HYBRID | {
    "train__max_steps": 150,
    "train__sample_bytes": 0,
    "train__log_every": 5,
    "checkpoint__every_steps": 1000,
    "predict__warmup_steps": 30,
    "predict__min_confidence": 0.6,
    "predict__full_steps": 6,
    "predict__window": 6,
    "dynamics__every_steps": 2,
    "dynamics__horizons": [2, 6, 20],
}


def noise(folder: Path) -> Path:
    """Text that nothing can be learnt from: letters drawn evenly, another draw in every document."""
    folder.mkdir()
    letters = "abcdefghijklmnop"
    for name, seeds in (("train", range(120)), ("valid", range(500, 504))):
        rows = ("".join(random.Random(seed).choices(letters, k=700)) for seed in seeds)
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return folder


def told(corpus: Path, root: Path, **changes: object) -> list[Event]:
    assert run(configure(corpus, **(GATED | changes)), root) == 0
    return list(read_events(root / "events.jsonl"))


def moves(events: list[Event], *, accepted: bool) -> list[tuple[object, object, str]]:
    found = [event.data for event in events if event.type == "phase" and event.data["accepted"] is accepted]
    return [(data["from"], data["to"], str(data["reason"])) for data in found]


def test_noise_is_refused_and_why_is_told(tmp_path: Path) -> None:
    # The marginal of the letters is learnt in the first steps; from then on there is nothing.
    events = told(noise(tmp_path / "noise"), tmp_path / "run", optim__lr=1e-3, optim__adamw_lr=3e-2)
    refused = [reason for _, _, reason in moves(events, accepted=False)]
    assert refused and any("confidence" in reason for reason in refused)
    late = [event for event in events if event.type == "jump" and event.step > 60]
    tried = [event for event in events if event.type == "phase" and event.step > 60]
    assert len(late) <= len(tried) / 4


def test_a_loss_that_falls_steadily_lets_it_enter(corpus: Path, tmp_path: Path) -> None:
    events = told(corpus, tmp_path / "run")
    assert any((origin, target) == ("FULL", "PREDICT") for origin, target, _ in moves(events, accepted=True))
    jumps = [event.data for event in events if event.type == "jump"]
    assert jumps and all(data["reason"] and data["candidates"] for data in jumps)
    steps = [event for event in events if event.type == "step"]
    assert all(event.data["perf/backward_passes"] == event.step for event in steps)
    assert {event.data["train/phase"] for event in steps} >= {"WARMUP", "FULL"}
    dynamics = [event.data for event in events if event.type == "dynamics"]
    assert dynamics[-1]["count"][0] > 0 and dynamics[-1]["error/mae"][0] > 0  # type: ignore[index]


@pytest.mark.parametrize("changes", [{"predict__micro": False, "predict__jumps": "off"}])
def test_without_prediction_nothing_of_it_is_told(corpus: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    events = told(corpus, tmp_path / "run", train__max_steps=40, **changes)
    assert not [event for event in events if event.type in ("phase", "jump", "dynamics")]
    steps = [event for event in events if event.type == "step"]
    assert all("train/phase" not in event.data for event in steps)
    assert steps[-1].data["perf/backward_passes"] == 40
