"""The filter against its formula, alone and in front of Muon and AdamW."""

from __future__ import annotations

import torch
from torch import nn

from neat.optim.grokfast import Grokfast
from neat.optim.muon import Matrix, Muon


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))


def test_steps_equal_the_formula() -> None:
    parameter = nn.Parameter(drawn(99))
    filtering = Grokfast([("w", parameter)], 0.9, 0.5)
    mean = drawn(0).double()
    for step in range(5):
        parameter.grad = drawn(step)
        filtering.apply()
        gradient = drawn(step).double()
        mean = 0.9 * mean + 0.1 * gradient
        torch.testing.assert_close(parameter.grad.double(), gradient + 0.5 * mean, rtol=0, atol=1e-6)


def test_a_constant_gradient_is_amplified_and_a_changing_sign_hardly() -> None:
    """The sign of the filter: slow components grow."""
    parameter = nn.Parameter(torch.zeros(2))
    filtering = Grokfast([("w", parameter)], 0.98, 2.0)
    for step in range(400):
        parameter.grad = torch.tensor([1.0, (-1.0) ** step])
        filtering.apply()
    assert parameter.grad is not None
    slow, fast = parameter.grad.abs().tolist()
    assert abs(slow - 3) < 1e-3 and abs(fast - 1) < 0.1


def test_mugrokfast_is_muon_on_filtered_gradients() -> None:
    parameter, twin = nn.Parameter(drawn(99)), nn.Parameter(drawn(99))
    options = {"lr": 0.02, "weight_decay": 0.1, "nesterov": True, "steps": 5}
    filtering = Grokfast([("w", parameter)], 0.9, 0.5)
    muon = Muon([Matrix("w", parameter, (6,))], **options)  # type: ignore[arg-type]
    plain = Muon([Matrix("w", twin, (6,))], **options)  # type: ignore[arg-type]
    mean = drawn(0)
    for step in range(4):
        parameter.grad = drawn(step)
        filtering.apply()
        muon.step(0.5, 0.9)
        mean = torch.lerp(mean, drawn(step), 0.1)
        twin.grad = drawn(step) + 0.5 * mean
        plain.step(0.5, 0.9)
    torch.testing.assert_close(parameter, twin, rtol=0, atol=1e-4)


def test_a_parameter_without_gradient_begins_later() -> None:
    first, second = nn.Parameter(drawn(98)), nn.Parameter(drawn(99))
    filtering = Grokfast([("a", first), ("b", second)], 0.9, 0.5)
    filtering.apply()
    first.grad = drawn(0)
    filtering.apply()
    assert second.grad is None and filtering.state()["grokfast.begun"].tolist() == [True, False]
    second.grad = drawn(1)
    filtering.apply()
    torch.testing.assert_close(second.grad, 1.5 * drawn(1))


def test_a_saved_state_goes_on_bit_for_bit() -> None:
    one, other = nn.Parameter(drawn(99)), nn.Parameter(drawn(99))
    first, second = Grokfast([("w", one)], 0.9, 0.5), Grokfast([("w", other)], 0.9, 0.5)
    for step in range(3):
        one.grad = drawn(step)
        first.apply()
    for key, tensor in second.state().items():
        tensor.copy_(first.state()[key])
    one.grad, other.grad = drawn(3), drawn(3)
    first.apply()
    second.apply()
    assert torch.equal(one.grad, other.grad)
