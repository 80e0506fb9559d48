"""Learning rate and momentum at points worked out by hand."""

from __future__ import annotations

import math

import pytest

from neat.config.schema import Optim
from neat.optim.schedule import lr_scale, momentum


def optim(**changes: object) -> Optim:
    """No warm-up, no momentum warm-up unless asked for."""
    base: dict[str, object] = {"warmup_share": 0.0, "momentum_warmup_share": 0.0}
    return Optim.model_validate(base | changes)


@pytest.mark.parametrize("schedule", ["wsd", "cosine", "constant"])
def test_warm_up_rises_in_equal_parts_to_one(schedule: str) -> None:
    # 4 of 20 steps: fifths, so that the first step moves and the fifth is the first at full rate.
    settings = optim(schedule=schedule, warmup_share=0.2)
    assert [lr_scale(settings, step, 20) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_wsd_holds_then_falls_in_equal_parts() -> None:
    settings = optim(schedule="wsd", warmup_share=0.1, decay_share=0.4)
    # 10 steps: one of warm-up, five at full rate, four that fall by fifths and stop above zero.
    expected = [0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    assert [lr_scale(settings, step, 10) for step in range(10)] == pytest.approx(expected)


def test_wsd_falls_towards_the_least_rate() -> None:
    settings = optim(schedule="wsd", decay_share=0.4, min_lr_ratio=0.5)
    assert [lr_scale(settings, step, 10) for step in range(5, 10)] == pytest.approx([1, 0.9, 0.8, 0.7, 0.6])
    assert lr_scale(settings, 10, 10) == pytest.approx(0.5)


def test_cosine_falls_along_a_half_wave() -> None:
    settings = optim(schedule="cosine", min_lr_ratio=0.1)
    for step in range(9):
        expected = 0.1 + 0.9 * (1 + math.cos(math.pi * (step + 1) / 10)) / 2
        assert lr_scale(settings, step, 9) == pytest.approx(expected)
    assert lr_scale(settings, 4, 9) == pytest.approx(0.55)


def test_constant_stays() -> None:
    assert {lr_scale(optim(schedule="constant"), step, 7) for step in range(8)} == {1.0}


@pytest.mark.parametrize("schedule", ["wsd", "cosine", "constant"])
@pytest.mark.parametrize("total", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("warmup", [0.0, 0.07, 0.5])
def test_every_step_of_a_run_moves_the_weights(schedule: str, total: int, warmup: float) -> None:
    settings = optim(schedule=schedule, warmup_share=warmup, decay_share=0.4)
    scales = [lr_scale(settings, step, total) for step in range(total)]
    assert all(0 < scale <= 1 for scale in scales)
    peak = scales.index(max(scales))
    assert scales[: peak + 1] == sorted(scales[: peak + 1])
    assert scales[peak:] == sorted(scales[peak:], reverse=True)


def test_a_run_that_is_longer_than_planned_goes_on_at_the_least_rate() -> None:
    for schedule in ("wsd", "cosine"):
        assert lr_scale(optim(schedule=schedule, min_lr_ratio=0.05), 30, 20) == pytest.approx(0.05)


def test_momentum_rises_from_its_start() -> None:
    settings = optim(momentum=0.95, momentum_warmup_share=0.5)
    assert [momentum(settings, step, 8) for step in (0, 2, 4, 7)] == pytest.approx([0.85, 0.9, 0.95, 0.95])


def test_a_momentum_below_the_start_is_kept() -> None:
    assert momentum(optim(momentum=0.5, momentum_warmup_share=0.5), 0, 8) == 0.5
    assert momentum(optim(momentum=0.9), 0, 8) == 0.9
