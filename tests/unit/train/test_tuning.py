"""The search: what it chooses from a bad start, what it cuts, what it costs, and that it repeats itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.runs import configure

from neat.config.schema import Config
from neat.errors import ConfigError, DivergedError
from neat.train import tuning
from neat.train.build import build
from neat.train.ending import rates, value
from neat.train.extent import MIN_STEPS, Allowance, planned
from neat.train.forecast import Forecast
from neat.train.fork import Fork
from neat.train.loop import train_step
from neat.train.moves import COORDINATES, Coordinate, momentum_key
from neat.train.state import capture
from neat.train.tuning import Choice, Probe, judged, lasting, tune

SLOW = {"optim__lr": 0.002, "optim__adamw_lr": 0.001, "optim__hash_lr": 0.001}
"""Learning rates that are far too low for a run of a few hundred steps."""


def toy(corpus: Path, **changes: Any) -> Config:
    return configure(corpus, **({"train__max_steps": 300, "train__curriculum": []} | changes))


def search(config: Config, share: float = 0.4, take_step: Any = train_step) -> tuple[Choice, list[Probe]]:
    probes: list[Probe] = []
    choice = tune(build(config), take_step, Allowance(share), probes.append)
    assert choice is not None
    return choice, probes


@pytest.fixture(scope="module")
def slow(corpus: Path) -> tuple[Config, Choice, list[Probe]]:
    config = toy(corpus, **SLOW)
    return config, *search(config)


def test_a_bad_start_is_left(slow: tuple[Config, Choice, list[Probe]]) -> None:
    config, choice, probes = slow
    assert choice.values.keys() == {"optim.lr", "optim.adamw_lr", "optim.hash_lr"}
    assert choice.values["optim.lr"] >= 4 * value(config, "optim.lr")  # type: ignore[operator]
    assert choice.baseline is not None and choice.loss < choice.baseline - 0.5
    assert (probes[0].outcome, probes[0].changes) == ("start", {})
    better = [probe for probe in probes if probe.outcome == "better"]
    assert better[-1].changes == choice.values and better[-1].loss == choice.loss
    for probe in probes[1:]:
        assert probe.baseline is not None and probe.reason


def test_the_choice_is_better_in_a_whole_run(slow: tuple[Config, Choice, list[Probe]]) -> None:
    """Trained for what tuning left of the run, on text that no branch was scored on."""
    from neat.config.change import changed
    from neat.train.report import text_model

    config, choice, _ = slow
    losses = []
    for settings, steps in ((config, 300), (changed(config, choice.values), 300 - math.ceil(choice.positions / 256))):
        trainer = build(settings)
        trainer.horizon.total = steps
        for _ in range(steps):
            train_step(trainer, *trainer.next_batch())
        losses.append(text_model(trainer).score(trainer.text.validation).bpb)
    assert losses[1] < losses[0] - 0.2


def test_a_search_repeats_itself_and_stays_within_its_allowance(
    slow: tuple[Config, Choice, list[Probe]], corpus: Path
) -> None:
    config, choice, probes = slow
    again, others = search(config)
    assert replace(again, seconds=0.0) == replace(choice, seconds=0.0) and others == probes
    assert choice.positions <= 0.4 * 300 * 256
    assert choice.probes == len(probes) >= 4


def test_the_trainer_is_left_as_it_was(corpus: Path) -> None:
    trainer, other = build(toy(corpus)), build(toy(corpus))
    tune(trainer, train_step, Allowance(0.25), lambda probe: None)
    mine, untouched = capture(trainer), capture(other)
    assert mine.state == untouched.state and mine.config == untouched.config
    for name in ("model", "optimizer"):
        left, right = getattr(mine, name), getattr(untouched, name)
        assert all(torch.equal(left[key], right[key]) for key in right)
    losses = [[float(train_step(one, *one.next_batch()).loss) for _ in range(3)] for one in (trainer, other)]
    assert losses[0] == losses[1]


def test_a_hopeless_branch_is_cut(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    useless = Coordinate("nothing", 1, lambda config, factor: {"optim.lr": 1e-9, "optim.adamw_lr": 1e-9})
    monkeypatch.setattr(tuning, "COORDINATES", (useless,))
    choice, probes = search(toy(corpus))
    assert [probe.outcome for probe in probes] == ["start", "cut"]
    assert probes[1].steps < 0.6 * probes[0].steps and probes[1].loss is None
    assert "forecast" in probes[1].reason
    assert choice.values == {}


def test_settings_that_diverge_are_left(corpus: Path) -> None:
    """Numbers that are not finite from the start on; the rates are lowered until they are."""

    def explodes(trainer: Any, batch: Any, scored: int) -> Any:
        progress = train_step(trainer, batch, scored)
        return progress._replace(loss=progress.loss * (math.nan if trainer.config.optim.lr > 0.15 else 1.0))

    config = toy(corpus, optim__lr=0.1, optim__adamw_lr=0.01)
    choice, probes = search(config, take_step=explodes)
    assert [probe.outcome for probe in probes[:3]] == ["diverged", "diverged", "better"]
    assert choice.baseline is None and choice.values["optim.lr"] <= 0.025  # type: ignore[operator]
    with pytest.raises(ConfigError, match="finite"):

        def never(trainer: Any, batch: Any, scored: int) -> Any:
            raise DivergedError("always")

        search(config, take_step=never)


def test_a_stop_is_heeded_at_once(corpus: Path) -> None:
    asked = iter([False] * 5 + [True] * 99)
    told: list[Probe] = []
    trainer = build(toy(corpus))
    assert tune(trainer, train_step, Allowance(0.4), told.append, lambda: next(asked)) is None
    assert told == [] and trainer.step == 0 and sum(1 for _ in asked) == 98


@pytest.mark.parametrize("length", [{"train__max_steps": 100}, {"train__max_steps": 0, "train__max_bytes": 25_600}])
def test_an_allowance_for_less_than_a_few_branches_is_refused(corpus: Path, length: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="tuning may take 5 steps") as caught:
        search(configure(corpus, train__budget="", **length), share=0.05)
    assert caught.value.hint is not None and "tune_share" in caught.value.hint


def test_an_allowance_in_time_is_measured(corpus: Path) -> None:
    config = configure(corpus, train__max_steps=0, train__budget="40s")
    with Fork(build(config), train_step) as fork:
        extent = planned(fork, Allowance(0.25))
    assert extent.deadline is not None
    assert extent.probe >= MIN_STEPS * 256 and extent.probe % 1024 == 0
    assert extent.allowed == pytest.approx(extent.run / 4, rel=0.05)


def test_coordinates_move_on_a_logarithmic_grid(corpus: Path) -> None:
    config = toy(corpus)
    by_name = {coordinate.name: coordinate for coordinate in COORDINATES}

    def moved(name: str, factor: float, key: str, base: Config = config) -> float | None:
        found = by_name[name].moved(base, factor)
        return None if found is None else value(found, key)

    assert [moved("learning rates", 2.0, key) for key in rates(config)] == [
        2 * value(config, key) for key in rates(config)
    ]
    assert moved("auxiliary rates", 2.0, "optim.lr") == config.optim.lr
    assert moved("auxiliary rates", 2.0, "optim.adamw_lr") == 2 * config.optim.adamw_lr
    assert moved("momentum", 0.5, "optim.momentum") == pytest.approx(0.8)
    assert moved("momentum", 2.0, "optim.momentum") == pytest.approx(0.95)
    assert moved("batch", 2.0, "train.batch_bytes") == 512
    assert moved("batch", 0.125, "train.batch_bytes") is None, "less than a window"
    assert moved("learning rates", 1e6, "optim.lr") is None, "out of range"
    adamw = toy(corpus, optim__name="adamw")
    assert momentum_key(adamw) == "optim.beta1" and moved("momentum", 0.5, "optim.beta1", adamw) == pytest.approx(0.8)
    parts = toy(corpus, train__micro_batch_bytes=256)
    assert moved("batch", 0.5, "train.micro_batch_bytes", parts) == 128
    assert moved("batch", 2.0, "train.micro_batch_bytes", parts) == 256


PROBE = Probe("x", {"optim.lr": 1.0}, 20, None, 2.0, None, "diverged", "")


def test_a_gain_must_be_clear() -> None:
    best = [2.0, 3.0, 2.5, 2.7]
    clear = judged(PROBE, [loss - gain for loss, gain in zip(best, (0.10, 0.11, 0.09, 0.10), strict=True)], best)
    assert clear.outcome == "better" and clear.error is not None and clear.error < 0.01
    noisy = judged(PROBE, [loss - gain for loss, gain in zip(best, (0.10, -0.09, 0.02, 0.05), strict=True)], best)
    assert noisy.outcome == "not better" and "no clear gain" in noisy.reason


def test_a_gain_that_fades_is_not_taken() -> None:
    better = replace(PROBE, outcome="better", reason="-0.1")
    assert lasting(better, Forecast(-0.01, 0.1)) == better
    assert lasting(better, Forecast(0.01, 0.0)).outcome == "not better"
    assert lasting(better, None).outcome == "not better"
