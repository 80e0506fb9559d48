"""Trajectory, snapshot, ledger and correction against their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neat.train.predict.correct import Correction, residual
from neat.train.predict.jump import Jump
from neat.train.predict.ledger import MIN_CREDITS, Ledger
from neat.train.predict.snapshot import WEIGHTS, Snapshot, digest
from neat.train.predict.trajectory import EVERY, Trajectory, dot, norm


def parameters() -> list[tuple[str, Tensor]]:
    return [("a", torch.randn(3, 4)), ("b", torch.randn(5))]


def test_the_smoothed_point_follows_its_formula() -> None:
    named = parameters()
    path = Trajectory(named, smoothed=True)
    expected = named[0][1].double().clone()
    for step in range(1, 3 * EVERY + 1):
        named[0][1].add_(0.1 * torch.randn(3, 4))
        path.update(step, 20)
        if step % EVERY == 0:
            share = 1 - (1 - 2 / 20) ** EVERY
            expected += share * (named[0][1].double() - expected)
    torch.testing.assert_close(path.point[0].double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("smoothed", [True, False])
def test_a_move_is_applied_once_and_leaves_anchor_alone(smoothed: bool) -> None:
    named = parameters()
    path = Trajectory(named, smoothed=smoothed)
    named[0][1].add_(1.0)
    path.update(EVERY, 10)
    before = [weight.clone() for weight in path.weights]
    anchor = [tensor.clone() for tensor in path.anchor]
    delta = path.displacement()
    assert [d.shape for d in delta] == [t.shape for _, t in named]
    path.move(delta, 0.5)
    for now, old, d in zip(path.weights, before, delta, strict=True):
        torch.testing.assert_close(now, old + 0.5 * d)
    assert all(torch.equal(a, b) for a, b in zip(anchor, path.anchor, strict=True))
    path.mark(7)
    assert path.anchor_step == 7 and float(norm(path.displacement())) == 0


def test_norm_and_dot_are_over_everything_together() -> None:
    left, right = [t for _, t in parameters()], [t for _, t in parameters()]
    flat = torch.cat([t.flatten() for t in left]), torch.cat([t.flatten() for t in right])
    torch.testing.assert_close(norm(left), flat[0].norm())
    torch.testing.assert_close(dot(left, right), flat[0] @ flat[1])


def test_a_snapshot_brings_everything_back() -> None:
    live = {WEIGHTS + "w": torch.randn(4), "optimizer.m": torch.randn(4), "optimizer.step": torch.tensor(3.0)}
    kept = {name: tensor.clone() for name, tensor in live.items()}
    snapshot = Snapshot()
    snapshot.take(live, 12)
    assert snapshot.digest == digest({WEIGHTS + "w": live[WEIGHTS + "w"]})
    for tensor in live.values():
        tensor.add_(1)
    assert digest({WEIGHTS + "w": live[WEIGHTS + "w"]}) != snapshot.digest
    snapshot.restore(live)
    assert all(torch.equal(live[name], kept[name]) for name in live)
    other = Snapshot()
    other.load(snapshot.state(), 12)
    assert (other.step, other.digest) == (12, snapshot.digest)


def test_a_digest_sees_names_and_every_bit() -> None:
    one = {"a": torch.zeros(3)}
    assert digest(one) == digest({"a": torch.zeros(3)})
    assert len({digest(one), digest({"b": torch.zeros(3)}), digest({"a": torch.tensor([0.0, 0.0, -0.0])})}) == 3


def test_jumps_that_do_not_pay_are_turned_off() -> None:
    ledger = Ledger()
    for _ in range(MIN_CREDITS - 1):
        ledger.spend(5, 0.001)
        ledger.credit(-0.01)
        assert not ledger.off
    ledger.credit(0.001)
    assert "jumps stay off" in ledger.off
    paying = Ledger()
    for _ in range(5):
        paying.spend(5, 0.001)
        paying.credit(0.01)
    assert not paying.off and paying.spent_steps == 25


def correction(slopes: list[float], gain: float = 0.1, share: float = 0.5) -> Correction:
    made = Jump(delta=[torch.tensor([3.0, 4.0])], span=10, before=[1.0], share=share, gain=gain)
    return Correction(made, 100, None, [torch.tensor(value) for value in slopes])


def test_slopes_are_along_the_jump() -> None:
    found = correction([])
    found.take_slope([torch.tensor([1.0, 2.0])])
    assert float(found.slopes[0]) == pytest.approx(-(3 + 8) / 5)


def test_the_secant_takes_back_what_gradients_ask_for() -> None:
    share, mean, statistic = correction([-0.04, -0.05, -0.06]).share_to_take_back()
    before = 0.1 / (0.5 * 5)
    assert mean == pytest.approx(-0.05) and statistic < -2
    assert share == pytest.approx(0.5 * 0.05 / (0.05 + before))
    assert correction([-0.05, -0.05, 0.2]).share_to_take_back()[0] == 0  # not significant
    assert correction([0.04, 0.05, 0.06]).share_to_take_back()[0] == 0  # points on
    assert correction([-0.05]).share_to_take_back()[0] == 0  # one step proves nothing
    assert correction([-0.04, -0.05, -0.06], gain=-1.0).share_to_take_back()[0] == pytest.approx(0.5)


def test_the_residual_is_actual_minus_predicted() -> None:
    named = parameters()
    path = Trajectory(named, smoothed=False)
    velocity = [torch.randn_like(t) for _, t in named]
    delta = [10 * v for v in velocity]
    jumped = Jump(delta=delta, span=10, before=[1.0], share=0.5)
    path.move(delta, 0.5)
    path.mark(100)
    found = Correction(jumped, 100, None)
    for (_, weight), v in zip(named, velocity, strict=True):
        weight.add_(4 * v)  # goes on exactly as predicted
    rest = residual(found, path, 4, {"x": [0], "y": [1]})
    assert rest.norm == pytest.approx(0, abs=1e-4) and rest.cosine == pytest.approx(1, abs=1e-5)
    extra = torch.randn(3, 4)
    named[0][1].add_(extra)
    rest = residual(found, path, 4, {"x": [0], "y": [1]})
    assert rest.norm == pytest.approx(float(extra.norm()), rel=1e-4)
    assert rest.norms == [pytest.approx(float(extra.norm()), rel=1e-4), pytest.approx(0, abs=1e-4)]
    assert rest.cosines[1] == pytest.approx(1, abs=1e-5)
