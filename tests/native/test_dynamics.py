"""The dynamics model through the bindings: parity with torch, learning, state, refusals."""

import json
import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from dynamics_reference import Reference

from neat._native import Dynamics
from neat.errors import CheckpointError, ConfigError, DivergedError

SMALL = {"kinds": ["hidden", "vectors"], "hidden": 16, "latent": 4, "bptt": 8, "store": 8}
KINDS, BASIS = 2, 3


def model(**changes: Any) -> Dynamics:
    return Dynamics(json.dumps(SMALL | changes))


def token(index: int, rng: random.Random) -> dict[str, Any]:
    """A token of a run whose loss falls by a power of the step."""
    basis = np.array([[rng.gauss(0, 1) for _ in range(8)] for _ in range(KINDS * BASIS)]).reshape(KINDS, BASIS, 8)
    return {
        "step": 10 * index,
        "loss": 5 * (10 * index) ** -0.15 + rng.gauss(0, 0.02),
        "grad_norm": math.exp(rng.gauss(0, 0.2)),
        "lr": min(1.0, index / 30),
        "lr_ahead": [min(1.0, (index + ahead) / 30) for ahead in (1, 3, 10)],
        "gram": basis @ basis.transpose(0, 2, 1),
        "slopes": [0.1 + rng.gauss(0, 0.05), -0.1 + rng.gauss(0, 0.05)],
        "gap": rng.gauss(0.02, 0.01),
    }


def feed(dynamics: Dynamics, first: int, last: int, seed: int = 0) -> list[dict[str, float | None]]:
    return [dynamics.observe(**token(index, random.Random(1000 * seed + index))) for index in range(first, last + 1)]


@pytest.mark.parametrize("seed", [0, 1])
def test_forward_pass_agrees_with_torch(seed: int) -> None:
    """Encoder, posterior, GRU and heads: the rollout and the forecast are those of torch with the same weights."""
    dynamics = model(seed=seed)
    feed(dynamics, 1, 25)
    inspected = dynamics.inspect()
    reference = Reference(dynamics.parameters(), hidden=16, latent=4, members=3, horizons=3)
    state = torch.from_numpy(inspected["state"])
    features = torch.from_numpy(inspected["features"])
    noise = torch.from_numpy(inspected["noise"])
    step = reference.step(state, features, noise)
    for name in ("next", "latent", "rebuilt", "loss", "gain", "credit"):
        np.testing.assert_allclose(inspected[name], step[name].numpy(), rtol=1e-5, atol=1e-7, err_msg=name)
    assert inspected["kl"] == pytest.approx(float(step["kl"]), rel=1e-5)
    assert inspected["kl"] > 0


def test_objective_and_gradient_agree_with_torch_autograd() -> None:
    dynamics = model(free_bits=0.0)
    feed(dynamics, 1, 40)
    problem = dynamics.inspect_training()
    reference = Reference(dynamics.parameters(), hidden=16, latent=4, members=3, horizons=3, grad=True)
    losses = reference.objective(problem)
    losses["total"].backward()
    losses = {name: value.detach() for name, value in losses.items()}
    assert problem["nll"] == pytest.approx(float(losses["nll"]), rel=1e-5)
    assert problem["kl"] == pytest.approx(float(losses["kl"]), rel=1e-5)
    assert problem["total"] == pytest.approx(float(losses["total"]), rel=1e-5)
    for name, gradient in problem["gradient"].items():
        expected = reference.parameters[name].grad
        expected = np.zeros_like(gradient) if expected is None else expected.numpy()
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-9, err_msg=name)


def test_every_parameter_changes() -> None:
    dynamics = model()
    before = dynamics.parameters()
    feed(dynamics, 1, 30)
    for candidate in range(4):
        dynamics.record_credit(candidate, 0.01 * (candidate - 1.5))
    feed(dynamics, 31, 40)
    after = dynamics.parameters()
    assert before.keys() == after.keys() and sum(v.size for v in after.values()) == dynamics.num_parameters()
    for name, values in after.items():
        assert (values != before[name]).any(), name


def test_forecast_beats_persistence_on_linear_dynamics() -> None:
    """log loss = trend + AR(1): after some hundred tokens the last value is a worse forecast than the model's."""
    dynamics = Dynamics(json.dumps({"kinds": [], "horizons": [30, 100]}))
    rng, drift = random.Random(3), 0.0
    losses: list[float] = []
    forecasts: list[dict[str, Any]] = []
    for index in range(1, 301):
        drift = 0.7 * drift + rng.gauss(0, 0.01)
        losses.append(5 * (10 * index) ** -0.2 * math.exp(drift))
        dynamics.observe(step=10 * index, loss=losses[-1], grad_norm=1.0, lr=1.0, lr_ahead=[1.0, 1.0])
        forecasts.append(dynamics.forecast())
    for place, ahead in enumerate((3, 10)):
        due = range(100, 300 - ahead)
        mine = np.mean([abs(forecasts[i]["mean"][place] - losses[i + ahead]) for i in due])
        last = np.mean([abs(losses[i] - losses[i + ahead]) for i in due])
        assert mine < 0.9 * last, (mine, last)


def test_forecast_beats_the_fit_and_intervals_hold_on_noisy_decays() -> None:
    """A fit extrapolates noise; over several runs the model's errors are smaller and its intervals honest."""
    ratios: list[list[float]] = []
    coverage: list[list[float]] = []
    for seed in range(8):
        dynamics = Dynamics(json.dumps({"kinds": [], "seed": seed, "hidden": 16, "bptt": 8}))
        rng, drift = random.Random(seed), 0.0
        for index in range(1, 301):
            lr = [min(1.0, max(0.0, (300 - later) / 100)) for later in (index, index + 1, index + 3, index + 10)]
            drift = 0.8 * drift + rng.gauss(0, 0.008)
            noise = math.exp(drift + rng.gauss(0, 0.015))
            loss = (1 + 3 * (10 * index) ** -0.4) * (0.92 + 0.08 * lr[0]) * noise
            dynamics.observe(step=10 * index, loss=loss, grad_norm=1.0, lr=lr[0], lr_ahead=lr[1:])
        report = dynamics.calibration()
        assert report["count"][2] > 250
        ratios.append([mine / fit for mine, fit in zip(report["mae"], report["mae_fit"], strict=True)])
        coverage.append(report["coverage"])
    assert (np.mean(ratios, 0) < 1).all() and np.mean(ratios, 0)[2] < 0.98, ratios
    assert np.abs(np.array(coverage) - 0.9).max() < 0.05, coverage


def test_sampling_changes_rollouts() -> None:
    dynamics = model()
    reports = feed(dynamics, 1, 30)
    assert all(report["model/kl"] > 0 for report in reports[2:])
    first, again, other = dynamics.imagine(5, 1), dynamics.imagine(5, 1), dynamics.imagine(5, 2)
    assert first.shape[0] == 5 and np.isfinite(first).all()
    assert (first == again).all() and (first != other).any()


def test_forecast_is_none_before_there_is_enough_and_a_correction_of_the_fit_then() -> None:
    dynamics = model()
    assert dynamics.forecast()["mean"] is None and dynamics.forecast()["gain"] == [1.0, 1.0]
    assert dynamics.calibration()["coverage"] == [None, None, None]
    assert dynamics.forecast_averaged(100) is None
    feed(dynamics, 1, 25)
    forecast = dynamics.forecast()
    assert forecast["horizons"] == [10, 30, 100]
    for key in ("mean", "sigma", "epistemic", "fit", "corrected"):
        assert len(forecast[key]) == 3 and all(math.isfinite(value) for value in forecast[key])
    assert all(0 < e <= s * 10 for e, s in zip(forecast["epistemic"], forecast["sigma"], strict=True))
    assert all(0 <= gain <= 1.5 for gain in forecast["gain"])
    assert forecast["credit_mean"] is None
    dynamics.record_credit(1, 0.01)
    feed(dynamics, 26, 26)
    assert len(dynamics.forecast()["credit_probability"]) == 4
    dynamics.observe_averaged(260, 2.0)
    averaged = dynamics.forecast_averaged(300)
    assert averaged is not None and averaged["mean"] < 2.0 and averaged["sigma"] > 0


def test_no_feature_is_constant_over_two_hundred_steps() -> None:
    dynamics = model()
    feed(dynamics, 1, 20)
    statistics = dynamics.feature_statistics()
    assert {name for name, *_ in statistics} >= {"loss/residual", "lr", "hidden/cosine_0_1", "vectors/log_norm_2"}
    assert not [name for name, _, variance in statistics if not variance > 1e-12]


def test_a_model_from_bytes_goes_on_bit_for_bit() -> None:
    straight = model()
    feed(straight, 1, 30)
    resumed = Dynamics.from_bytes(json.dumps(SMALL), straight.to_bytes())
    feed(straight, 31, 60)
    feed(resumed, 31, 60)
    assert straight.to_bytes() == resumed.to_bytes()
    assert straight.forecast() == resumed.forecast()


def test_the_seed_decides_everything() -> None:
    states = []
    for seed in (0, 0, 1):
        dynamics = model(seed=seed)
        feed(dynamics, 1, 15)
        states.append(dynamics.to_bytes())
    assert states[0] == states[1] != states[2]


def test_residuals_are_stored_up_to_the_bound() -> None:
    dynamics = model()
    feed(dynamics, 1, 25)
    for count in range(12):
        assert dynamics.residuals() == min(count, 8)
        dynamics.record_residual(
            horizon=20, residual_norms=[0.1, 0.2], cosines=[0.3, 0.1], forecast_residual=0.01, credit=0.0
        )


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"loss": math.nan}, "loss is nan"),
        ({"grad_norm": math.inf}, "grad_norm is inf"),
        ({"gap": math.nan}, "gap is nan"),
        ({"lr_ahead": [1.0, math.nan, 1.0]}, r"lr_ahead\[1\] is nan"),
        ({"gram": np.full((2, 3, 3), math.nan)}, r"gram\[0\] is nan"),
    ],
)
def test_numbers_that_are_not_finite_are_refused(change: dict[str, Any], name: str) -> None:
    dynamics = model()
    with pytest.raises(DivergedError, match=name) as caught:
        dynamics.observe(**(token(1, random.Random(0)) | change))
    assert caught.value.hint


@pytest.mark.parametrize("change", [{"step": 0}, {"loss": -1.0}, {"lr": 2.0}, {"lr_ahead": [1.0]}, {"slopes": [0.1]}])
def test_impossible_observations_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        model().observe(**(token(1, random.Random(0)) | change))


def test_states_of_other_settings_and_damaged_ones_are_refused() -> None:
    dynamics = model()
    feed(dynamics, 1, 3)
    state = dynamics.to_bytes()
    with pytest.raises(CheckpointError, match="other settings"):
        Dynamics.from_bytes(json.dumps(SMALL | {"hidden": 20}), state)
    with pytest.raises(CheckpointError, match="damaged"):
        Dynamics.from_bytes(json.dumps(SMALL), state[:100] + bytes([state[100] ^ 1]) + state[101:])
    with pytest.raises(CheckpointError, match="cut short"):
        Dynamics.from_bytes(json.dumps(SMALL), state[:-5])
    with pytest.raises(CheckpointError, match="no state"):
        Dynamics.from_bytes(json.dumps(SMALL), b"what is this?")


@pytest.mark.parametrize(
    ("settings", "word"), [({"hiden": 3}, "hiden"), ({"hidden": 10**6}, "hidden"), ({"horizons": [3, 2]}, "ascend")]
)
def test_impossible_settings_are_refused(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=word) as caught:
        Dynamics(json.dumps(settings))
    assert caught.value.hint
