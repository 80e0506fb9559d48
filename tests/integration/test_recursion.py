"""Runs with halting and with looped layers: what they tell, and that a checkpoint brings all of it back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.runs import configure
from support.text import prose

import neat
from neat.events.reader import read_events
from neat.train.loop import run


def test_halting_is_told_of_and_its_calibration_comes_back(corpus: Path, tmp_path: Path) -> None:
    config = configure(
        corpus,
        recursion__depth=3,
        recursion__halting=True,
        recursion__supervision=[0.3, 0.6],
        recursion__halt_threshold=0.1,
        recursion__calibration_decay=0.9,
        recursion__ponder_weight=0.01,
        recursion__diversity_weight=0.1,
    )
    assert run(config, tmp_path / "run") == 0
    steps = [event.data for event in read_events(tmp_path / "run" / "events.jsonl") if event.type == "step"]
    told = {"train/halting_loss", "train/ponder_loss", "train/diversity_loss", "train/byte_1_loss", "halting/depth"}
    assert told <= steps[0].keys()
    for data in steps:
        assert 1 <= float(data["halting/depth"]) <= 3  # type: ignore[arg-type]
        assert sum(float(data[f"halting/depth_{r}"]) for r in (1, 2, 3)) == pytest.approx(1)  # type: ignore[arg-type]
    # At first everybody goes on; with the head calibrated, positions stop.
    assert float(steps[0]["halting/depth"]) == 3 > float(steps[-1]["halting/depth"])  # type: ignore[arg-type]
    latent = neat.load(tmp_path / "run").network.latent
    assert latent.halting is not None and latent.halting.means is not None
    assert bool((latent.halting.means[:, 0] != 0.5).all())
    raw = neat.load(tmp_path / "run", average=False).network.latent
    assert raw.halting is not None and raw.halting.means is not None
    assert torch.equal(raw.halting.means, latent.halting.means)


def test_a_loaded_model_loops_its_layers_as_the_run_did(corpus: Path, tmp_path: Path) -> None:
    for share, looped in ((0.5, True), (0.0, False)):
        config = configure(corpus, network__layers=3, network__loop_middle=share)
        root = tmp_path / f"run{share}"
        assert run(config, root) == 0
        events = [event.data for event in read_events(root / "events.jsonl") if event.type == "step"]
        flags = [data.get("latent/looped") for data in events]
        assert flags == ([0.0] * 15 + [1.0] * 15 if looped else [None] * 30)
        model = neat.load(root)
        assert model.network.latent.looped == looped
        assert bool(model.log_probs([prose(5)[:50]])[0].isfinite().all())


def test_halting_that_adapts_to_nothing_raises_an_alert(corpus: Path, tmp_path: Path) -> None:
    config = configure(
        corpus, recursion__depth=2, recursion__halting=True, recursion__halt_threshold=0.999, train__max_steps=105
    )
    assert run(config, tmp_path / "run") == 0
    (alert,) = [event for event in read_events(tmp_path / "run" / "events.jsonl") if event.type == "alert"]
    assert alert.step == 100
    assert "every position stopped at one depth in 100 reported steps" in str(alert.data["message"])
