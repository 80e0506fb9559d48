"""Whole runs with each optimizer: they learn, and what they evaluate is what is loaded afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.runs import configure

from neat.errors import Exit
from neat.evaluate.bpb import evaluate
from neat.events.reader import read_events
from neat.events.schema import Event
from neat.train.loop import run

OWN = {"optim__ema_decay": 0.0, "predict__micro": False, "predict__jumps": "off"}
OPTIONS: dict[str, dict[str, Any]] = {
    "mugrokfast": {"optim__name": "mugrokfast", "optim__grokfast_lambda": 0.5},
    "adamw with filter": {"optim__name": "adamw", "optim__grokfast_lambda": 0.5},
    "schedule free": {"optim__name": "schedule_free", "optim__schedule": "constant", **OWN},
    "gpa": {"optim__name": "gpa", **OWN},
    "muon with snoo": {"optim__outer": "snoo", "optim__outer_every": 5},
    "coarse patches first": {"train__patch_curriculum": [[0.3, 6.0]]},
}


def events(root: Path, kind: str) -> list[Event]:
    return [event for event in read_events(root / "events.jsonl") if event.type == kind]


def metric(root: Path, kind: str, name: str) -> list[float]:
    return [float(str(event.data[name])) for event in events(root, kind)]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_run_learns_and_is_loaded_as_it_was_evaluated(corpus: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "run"
    assert run(configure(corpus, **OPTIONS[name]), root) == Exit.DONE
    course = metric(root, "step", "train/loss")
    assert course[0] == pytest.approx(5.545, abs=0.01) and course[-1] < 4.8
    (last,) = metric(root, "eval", "eval/bpb")
    assert last < 7.4
    result = evaluate(root, [str(corpus / "valid.jsonl")], device="cpu")
    assert result["bpb"] == pytest.approx(last, rel=1e-6)


def test_stages_of_patches_are_events(corpus: Path, tmp_path: Path) -> None:
    """Shares of 30 steps: windows of 32 up to step 6, patches of 6 bytes up to step 9."""
    root = tmp_path / "run"
    assert run(configure(corpus, **OPTIONS["coarse patches first"]), root) == Exit.DONE
    stages = [
        (event.step, event.data["stage"], event.data["train/window"], event.data["patch/mean_length_target"])
        for event in events(root, "stage")
    ]
    assert stages == [(1, 0, 32, 6.0), (7, 1, 64, 6.0), (10, 2, 64, 3.5)]
    lengths = metric(root, "step", "patch/mean_length")
    assert lengths[8] > 4.5 > lengths[-1]
