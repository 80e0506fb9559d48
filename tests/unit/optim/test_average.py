"""The averaged weights: formula, horizon, and weights that come back untouched."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neat.optim.average import WeightAverage


def one_weight(value: float = 5.0) -> nn.Linear:
    """A model of one float64 number."""
    model = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        model.weight.fill_(value)
    return model


def run(decay: float, every: int, values: list[float]) -> float:
    """The average after training went through `values`."""
    model = one_weight()
    average = WeightAverage(model, decay, every)
    for step, value in enumerate(values, start=1):
        with torch.no_grad():
            model.weight.fill_(value)
        average.update(step)
    return float(average.state()["weight"])


def test_every_step() -> None:
    expected = 0.0
    for done, value in enumerate([1.0, 4.0, 2.0, 8.0]):
        keep = min(0.3, done / (done + 10))
        expected = keep * expected + (1 - keep) * value
    assert run(0.3, 1, [1.0, 4.0, 2.0, 8.0]) == pytest.approx(expected, abs=1e-12)


def test_the_rising_decay_counts_steps_and_not_updates() -> None:
    values = [float(value) for value in range(1, 13)]
    expected = 0.0
    for steps_averaged, value in ((0, 4.0), (4, 8.0), (8, 12.0)):
        keep = min(0.99, steps_averaged / (steps_averaged + 10)) ** 4
        expected = keep * expected + (1 - keep) * value
    assert run(0.99, 4, values) == pytest.approx(expected, abs=1e-12)


def test_the_first_weights_do_not_linger() -> None:
    assert run(0.999, 1, [7.0]) == 7.0


def test_the_decay_is_reached_in_a_long_run() -> None:
    # At a constant weight the average is that weight; after a jump, what is left of the past is the decay itself.
    values = [0.0] * 2000 + [1.0]
    assert run(0.9, 1, values) == pytest.approx(0.1, abs=1e-12)


def test_a_rarer_update_has_the_same_horizon() -> None:
    values = [0.0] * 2000 + [1.0] * 4
    assert run(0.9, 4, values) == pytest.approx(1 - 0.9**4, abs=1e-12)
    assert run(0.9, 1, values) == pytest.approx(1 - 0.9**4, abs=1e-12)


def test_weights_between_updates_are_not_seen() -> None:
    assert run(0.9, 3, [1.0, 2.0]) == 5.0
    assert run(0.9, 3, [1.0, 2.0, 3.0, 9.0]) == 3.0


def test_applied_swaps_and_restores_every_bit() -> None:
    model = nn.Linear(7, 5)
    average = WeightAverage(model, 0.5, 1)
    with torch.no_grad():
        model.weight.normal_()
    average.update(1)
    with torch.no_grad():
        model.weight.normal_()
    live, kept = model.weight.detach().clone(), average.state()["weight"].clone()
    assert not torch.equal(live, kept)
    with average.applied():
        assert torch.equal(model.weight, kept)
    assert torch.equal(model.weight, live) and torch.equal(average.state()["weight"], kept)
    with pytest.raises(RuntimeError, match="inside"), average.applied():
        raise RuntimeError("inside")
    assert torch.equal(model.weight, live) and torch.equal(average.state()["weight"], kept)
