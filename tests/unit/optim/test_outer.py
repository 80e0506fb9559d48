"""Outer steps against torch's Nesterov SGD on the pseudo-gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from neat.optim.outer import Snoo


def drawn(seed: int) -> torch.Tensor:
    return 0.1 * torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("lr", "momentum"), [(0.7, 0.5), (1.0, 0.0), (0.5, 0.9)])
def test_equals_torch(lr: float, momentum: float) -> None:
    parameter = nn.Parameter(drawn(99))
    outer = Snoo([("w", parameter)], every=3, lr=lr, momentum=momentum)
    slow = nn.Parameter(drawn(99))
    sgd = torch.optim.SGD([slow], lr=lr, momentum=momentum, nesterov=momentum > 0)
    weights = drawn(99)
    for step in range(10):
        weights = weights + drawn(step)
        with torch.no_grad():
            parameter.add_(drawn(step))
        outer.step()
        if step % 3 == 2:
            slow.grad = slow.detach() - weights
            sgd.step()
            weights = slow.detach().clone()
        torch.testing.assert_close(parameter.detach(), weights, rtol=0, atol=1e-6)


def test_a_rate_of_one_without_momentum_changes_nothing() -> None:
    parameter = nn.Parameter(drawn(99))
    outer = Snoo([("w", parameter)], every=2, lr=1.0, momentum=0.0)
    expected = drawn(99)
    for step in range(6):
        expected = expected + drawn(step)
        with torch.no_grad():
            parameter.add_(drawn(step))
        outer.step()
    torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=1e-6)


def test_a_saved_state_goes_on_bit_for_bit() -> None:
    """Also from the middle of a cycle."""
    one = nn.Parameter(drawn(99))
    first = Snoo([("w", one)], every=3, lr=0.7, momentum=0.5)

    def go(parameter: nn.Parameter, outer: Snoo, steps: range) -> None:
        for step in steps:
            with torch.no_grad():
                parameter.add_(drawn(step))
            outer.step()

    go(one, first, range(4))
    other = nn.Parameter(one.detach().clone())
    second = Snoo([("w", other)], every=3, lr=0.7, momentum=0.5)
    for key, tensor in second.state().items():
        tensor.copy_(first.state()[key])
    go(one, first, range(4, 9))
    go(other, second, range(4, 9))
    assert torch.equal(one, other)
