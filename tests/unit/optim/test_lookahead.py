"""Predicted deltas against the formulas with two copies of the weights in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from neat.optim.lookahead import Lookahead

SHAPES = ((12, 7), (5,), (3, 4))
KINDS = ("attention", "head", "attention")
ROUNDING = 4 * torch.finfo(torch.float32).eps
"""What float32 weights of up to 4 round away in one update; the displacements in these tests are about 1e-3."""
SCALES = {"attention": 0.3, "head": 0.1}


def parameters() -> list[tuple[str, Tensor]]:
    torch.manual_seed(0)
    return [(str(i), torch.nn.Parameter(torch.randn(shape))) for i, shape in enumerate(SHAPES)]


def make(weights: list[tuple[str, Tensor]], decay: float = 0.9, dtype: torch.dtype = torch.float32) -> Lookahead:
    return Lookahead(weights, KINDS, decay, dtype)


def reference(
    weights: list[Tensor], updates: Callable[[int], list[Tensor] | None], num: int, decay: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and displacements after `num` steps in float64: every formula as it stands, from two copies."""
    w = [weight.detach().double() for weight in weights]
    d = [torch.zeros_like(weight) for weight in w]
    for step in range(num):
        change = updates(step)
        for i, kind in enumerate(KINDS):
            old = w[i].clone()
            w[i] = old + SCALES[kind] * d[i]
            if change is not None:
                w[i] = w[i] + change[i].double()
            d[i] = decay * d[i] + (1 - decay) * (w[i] - old)
    return w, d


def run(
    weights: list[tuple[str, Tensor]],
    lookahead: Lookahead,
    updates: Callable[[int], list[Tensor] | None],
    steps: range,
) -> None:
    for step in steps:
        lookahead.predict(SCALES)
        change = updates(step)
        if change is not None:
            lookahead.before_update()
            with torch.no_grad():
                for (_, weight), delta in zip(weights, change, strict=True):
                    weight.add_(delta)
        lookahead.observe()


def changes(size: float) -> Callable[[int], list[Tensor]]:
    """Updates that share a direction, as those of a training do."""

    def found(step: int) -> list[Tensor]:
        chooser = torch.Generator().manual_seed(step)
        return [size * (0.2 + torch.randn(shape, generator=chooser)) for shape in SHAPES]

    return found


def error(found: list[Tensor], expected: list[Tensor]) -> float:
    """Largest norm of a difference as a share of the norm."""
    pairs = zip(found, expected, strict=True)
    return max(float((left.detach().double() - right).norm() / right.norm()) for left, right in pairs)


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left.double(), right, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("num", [1, 2, 7])
def test_steps_equal_the_formulas(num: int) -> None:
    weights = parameters()
    expected, displacements = reference([w for _, w in weights], changes(1e-2), num, 0.9)
    lookahead = make(weights)
    run(weights, lookahead, changes(1e-2), range(num))
    assert error([w for _, w in weights], expected) < 1e-6
    assert_close(list(lookahead.state().values()), displacements)


@pytest.mark.parametrize("decay", [0.97, 0.99])
@pytest.mark.parametrize("size", [1e-3, 1e-5])
def test_one_buffer_is_as_good_as_two_copies_over_a_thousand_steps(decay: float, size: float) -> None:
    """The weights are about 1, so that updates of 1e-5 are near what float32 weights can follow at all."""
    weights = parameters()
    expected, displacements = reference([w for _, w in weights], changes(size), 1000, decay)
    lookahead = make(weights, decay)
    run(weights, lookahead, changes(size), range(1000))
    found = list(lookahead.state().values())
    assert error([w for _, w in weights], expected) < 1e-5
    assert error(found, displacements) < {1e-3: 1e-4, 1e-5: 1e-2}[size]

    # The plain form with two float32 copies rounds the weights too; it is no nearer to the truth.
    plain = [w.detach() for _, w in parameters()]
    d = [torch.zeros_like(w) for w in plain]
    for step in range(1000):
        for i, (kind, change) in enumerate(zip(KINDS, changes(size)(step), strict=True)):
            old = plain[i].clone()
            plain[i] = old + SCALES[kind] * d[i] + change
            d[i] = decay * d[i] + (1 - decay) * (plain[i] - old)
    assert error(found, displacements) < 3 * error(d, displacements) + 1e-6


def test_bfloat16_follows_to_its_own_precision() -> None:
    weights = parameters()
    _, displacements = reference([w for _, w in weights], changes(1e-2), 300, 0.97)
    lookahead = make(weights, 0.97, torch.bfloat16)
    run(weights, lookahead, changes(1e-2), range(300))
    found = list(lookahead.state().values())
    assert all(tensor.dtype == torch.bfloat16 for tensor in found)
    assert error(found, displacements) < 0.05
    assert not lookahead._before


def test_a_refused_update_leaves_the_predicted_part() -> None:
    weights = parameters()

    def some(step: int) -> list[Tensor] | None:
        return None if step in (0, 4) else changes(1e-2)(step)

    expected, displacements = reference([w for _, w in weights], some, 7, 0.9)
    lookahead = make(weights)
    run(weights, lookahead, some, range(7))
    assert error([w for _, w in weights], expected) < 1e-6
    assert_close(list(lookahead.state().values()), displacements)


def test_a_prediction_is_applied_once() -> None:
    weights = parameters()
    lookahead = make(weights)
    run(weights, lookahead, changes(1e-2), range(2))
    before, d = weights[1][1].detach().clone(), lookahead.state()["lookahead.1"].clone()
    lookahead.predict(SCALES)
    assert torch.equal(weights[1][1].detach(), before + 0.1 * d)
    with pytest.raises(RuntimeError, match="not observed"):
        lookahead.predict(SCALES)
    assert torch.equal(weights[1][1].detach(), before + 0.1 * d)


def test_calls_out_of_order_are_mistakes() -> None:
    weights = parameters()
    lookahead = make(weights)
    with pytest.raises(RuntimeError, match="nothing was predicted"):
        lookahead.observe()
    lookahead.predict(SCALES)
    with torch.no_grad():
        weights[0][1].add_(1.0)
    with pytest.raises(RuntimeError, match="without before_update"):
        lookahead.observe()
    lookahead.before_update()
    with pytest.raises(RuntimeError, match="not readable"):
        lookahead.norms()
    with pytest.raises(KeyError, match="head"):
        make(weights).predict({"attention": 1.0})


def test_reset_forgets() -> None:
    weights = parameters()
    lookahead = make(weights)
    run(weights, lookahead, changes(1e-2), range(3))
    lookahead.predict(SCALES)
    lookahead.reset()
    assert all(not bool(d.any()) for d in lookahead.state().values())
    before = [w.detach().clone() for _, w in weights]
    lookahead.predict(SCALES)
    assert all(torch.equal(left, right) for left, (_, right) in zip(before, weights, strict=True))


def test_a_saved_state_goes_on_bit_for_bit() -> None:
    one, other = parameters(), parameters()
    first, second = make(one), make(other)
    run(one, first, changes(1e-2), range(3))
    with torch.no_grad():
        for (_, left), (_, right) in zip(one, other, strict=True):
            right.copy_(left)
    second.load({name: tensor.clone() for name, tensor in first.state().items()})
    run(one, first, changes(1e-2), range(3, 6))
    run(other, second, changes(1e-2), range(3, 6))
    assert all(torch.equal(left, right) for (_, left), (_, right) in zip(one, other, strict=True))
    with pytest.raises(KeyError, match=r"lookahead\.2"):
        second.load({name: tensor for name, tensor in first.state().items() if not name.endswith("2")})


def test_norms_and_slopes_by_kind() -> None:
    weights = parameters()
    lookahead = make(weights)
    assert all(float(slope) == 0 for slope in lookahead.slopes().values())
    run(weights, lookahead, changes(1e-2), range(3))
    d = list(lookahead.state().values())
    for _, weight in weights[:2]:
        weight.grad = torch.randn_like(weight)
    norms, slopes = lookahead.norms(), lookahead.slopes()
    attention = torch.cat([d[0].flatten(), d[2].flatten()])
    gradient = torch.cat([weights[0][1].grad.flatten(), torch.zeros(12)])  # type: ignore[union-attr]
    torch.testing.assert_close(norms["attention"], attention.norm())
    torch.testing.assert_close(norms["head"], d[1].norm())
    torch.testing.assert_close(
        slopes["attention"], torch.cosine_similarity(-gradient, attention, dim=0), rtol=1e-5, atol=1e-6
    )
    weights[1][1].grad = -3 * d[1]
    torch.testing.assert_close(lookahead.slopes()["head"], torch.tensor(1.0))


def test_buffers_name_every_parameter_with_its_kind() -> None:
    weights = parameters()
    lookahead = make(weights)
    found = list(lookahead.buffers())
    assert [(name, kind) for name, kind, _, _ in found] == list(zip(("0", "1", "2"), KINDS, strict=True))
    assert all(parameter is weight for (_, _, parameter, _), (_, weight) in zip(found, weights, strict=True))
    assert all(d.shape == parameter.shape for _, _, parameter, d in found)
