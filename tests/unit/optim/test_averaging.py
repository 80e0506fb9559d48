"""Schedule-Free AdamW and GPA against their formulas with three copies of the weights, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neat.optim.adamw import Assigned
from neat.optim.average import OwnAverage
from neat.optim.averaging import AveragedAdamW
from neat.optim.values import Values

SCALES = (0.5, 1.0, 1.0, 0.6, 0.3, 0.7)
LR, DECAY, BETA2, EPS = 0.05, 0.3, 0.9, 1e-8
BETAS = {"schedule_free": (0.8, BETA2), "gpa": (0.7, 0.6, BETA2)}


def drawn(seed: int) -> list[Tensor]:
    chooser = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=chooser) for shape in ((4, 3), (5,))]


def made(name: str) -> tuple[list[nn.Parameter], AveragedAdamW]:
    parameters = [nn.Parameter(tensor) for tensor in drawn(99)]
    own = [Values(name, LR, DECAY, BETAS[name], EPS), Values(name, 2 * LR, 0.0, BETAS[name], EPS)]
    assigned: list[Assigned] = [(str(i), p, v) for i, (p, v) in enumerate(zip(parameters, own, strict=True))]
    return parameters, AveragedAdamW(assigned)


def stepped(parameters: list[nn.Parameter], optimizer: AveragedAdamW, steps: range) -> None:
    for step in steps:
        for parameter, gradient in zip(parameters, drawn(step), strict=True):
            parameter.grad = gradient
        optimizer.step(SCALES[step])


def reference(name: str, num: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """The points x, y, z after `num` steps, from the formulas as published."""
    x, z = [t.double() for t in drawn(99)], [t.double() for t in drawn(99)]
    v = [torch.zeros_like(t) for t in x]
    mu_y = BETAS[name][-2]
    y = [mu_y * a + (1 - mu_y) * b for a, b in zip(x, z, strict=True)]
    for step in range(num):
        past = [max(SCALES[: t + 1]) ** 2 for t in range(step + 1)]
        mu_x = 1 - past[-1] / sum(past) if name == "schedule_free" else BETAS[name][0]
        for i, gradient in enumerate(drawn(step)):
            rate, decay = ((LR, DECAY), (2 * LR, 0.0))[i]
            g = gradient.double()
            v[i] = BETA2 * v[i] + (1 - BETA2) * g * g
            direction = g / ((v[i] / (1 - BETA2 ** (step + 1))).sqrt() + EPS) + decay * y[i]
            z[i] = z[i] - rate * SCALES[step] * direction
            x[i] = mu_x * x[i] + (1 - mu_x) * z[i]
            y[i] = mu_y * x[i] + (1 - mu_y) * z[i]
    return x, y, z


def assert_near(found: list[Tensor], expected: list[Tensor]) -> None:
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left.detach().double(), right, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", list(BETAS))
@pytest.mark.parametrize("num", [1, 2, 6])
def test_steps_equal_the_formulas(name: str, num: int) -> None:
    parameters, optimizer = made(name)
    stepped(parameters, optimizer, range(num))
    x, y, z = reference(name, num)
    assert_near(list(parameters), y)
    assert_near(list(optimizer.average().values()), x)
    assert_near([optimizer.state()[f"averaged.z.{i}"] for i in range(2)], z)


def test_schedule_free_evaluates_the_mean_of_all_steps() -> None:
    """With a constant rate and after any number of steps."""
    parameters, optimizer = made("schedule_free")
    seen = []
    for step in range(5):
        for parameter, gradient in zip(parameters, drawn(step), strict=True):
            parameter.grad = gradient
        optimizer.step(1.0)
        seen.append(optimizer.state()["averaged.z.0"].clone())
    torch.testing.assert_close(optimizer.average()["0"], torch.stack(seen).mean(0), rtol=0, atol=2e-6)


def test_gpa_without_memory_is_adamw_without_momentum() -> None:
    parameter = nn.Parameter(drawn(99)[0])
    twin = nn.Parameter(drawn(99)[0])
    optimizer = AveragedAdamW([("w", parameter, Values("gpa", LR, DECAY, (0.0, 0.6, BETA2), EPS))])
    torchs = torch.optim.AdamW([twin], lr=LR, betas=(0.0, BETA2), eps=EPS, weight_decay=DECAY)
    for step in range(4):
        parameter.grad, twin.grad = drawn(step)[0], drawn(step)[0]
        optimizer.step(1.0)
        torchs.step()
    torch.testing.assert_close(parameter, twin, rtol=0, atol=2e-6)


def test_a_parameter_without_gradient_stays() -> None:
    parameters, optimizer = made("gpa")
    stepped(parameters, optimizer, range(2))
    before = {name: tensor.clone() for name, tensor in (optimizer.state() | optimizer.average()).items()}
    parameters[0].grad, parameters[1].grad = None, drawn(7)[1]
    optimizer.step(1.0)
    after = optimizer.state() | optimizer.average()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {"averaged.z.0", "averaged.squares.0", "0"} <= same and not {"averaged.z.1", "1"} & same


@pytest.mark.parametrize("name", list(BETAS))
def test_the_average_is_applied_and_taken_back_bit_for_bit(name: str) -> None:
    parameters, optimizer = made(name)
    model = nn.ParameterDict({"0": parameters[0], "1": parameters[1], "table": nn.Parameter(torch.ones(2))})
    average = OwnAverage(model, optimizer)
    stepped(parameters, optimizer, range(4))
    before = [parameter.detach().clone() for parameter in parameters]
    x = optimizer.average()
    saved = average.state()
    assert saved.keys() == {"0", "1", "table"} and average.updates
    with pytest.raises(KeyError), average.applied():
        assert all(torch.equal(parameter, x[str(i)]) for i, parameter in enumerate(parameters))
        assert not torch.equal(parameters[0], before[0])
        raise KeyError
    assert all(torch.equal(left, right) for left, right in zip(parameters, before, strict=True))
    assert all(torch.equal(saved[key], x[key]) for key in x)
    average.update(5)
    assert all(torch.equal(left, right) for left, right in zip(parameters, before, strict=True))


@pytest.mark.parametrize("name", list(BETAS))
def test_a_saved_state_goes_on_bit_for_bit(name: str) -> None:
    one, first = made(name)
    stepped(one, first, range(3))
    other, second = made(name)
    with torch.no_grad():
        for left, right in zip(one, other, strict=True):
            right.copy_(left)
        for key, tensor in second.state().items():
            tensor.copy_(first.state()[key])
    stepped(one, first, range(3, 6))
    stepped(other, second, range(3, 6))
    assert all(torch.equal(left, right) for left, right in zip(one, other, strict=True))
