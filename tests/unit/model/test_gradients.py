"""The hand-written gradients: against finite differences, and values against the plain formula."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neat.model.layers import NORM_EPS, _CpuRmsNorm, _Gate
from neat.model.mixers import _Convolve, reach_back


def leaf(*shape: int) -> Tensor:
    """Random float64 input of a gradient check."""
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def assert_same_with_gradients(left: Tensor, right: Tensor, inputs: list[Tensor]) -> None:
    """Equal values, and equal gradients for a random direction."""
    torch.testing.assert_close(left, right, rtol=0, atol=1e-12)
    direction = torch.randn_like(left)
    pairs = zip(
        torch.autograd.grad(left, inputs, direction), torch.autograd.grad(right, inputs, direction), strict=True
    )
    for mine, plain in pairs:
        torch.testing.assert_close(mine, plain, rtol=0, atol=1e-11)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_rms_norm(scale: float) -> None:
    x = (torch.randn(2, 5, 7, dtype=torch.float64) * scale).requires_grad_()
    assert_same_with_gradients(_CpuRmsNorm.apply(x), F.rms_norm(x, (7,), eps=NORM_EPS), [x])


def test_rms_norm_by_differences() -> None:
    assert torch.autograd.gradcheck(_CpuRmsNorm.apply, (leaf(3, 4, 5),))


def test_rms_norm_of_zeros_has_a_finite_gradient() -> None:
    x = torch.zeros(1, 2, 4, requires_grad=True)
    _CpuRmsNorm.apply(x).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_rms_norm_of_a_view_that_is_not_contiguous() -> None:
    x = leaf(3, 6, 4)
    assert_same_with_gradients(
        _CpuRmsNorm.apply(x.transpose(1, 2)), F.rms_norm(x.transpose(1, 2), (6,), eps=NORM_EPS), [x]
    )


def test_gate() -> None:
    x = leaf(2, 3, 10)
    gate, up = x.chunk(2, dim=-1)
    assert_same_with_gradients(_Gate.apply(x), F.silu(gate) * up, [x])
    assert torch.autograd.gradcheck(_Gate.apply, (x,))


def plain_convolution(x: Tensor, kernel: Tensor, document: Tensor) -> Tensor:
    """Position by position, tap by tap."""
    result = []
    for row, segments in zip(x, document.tolist(), strict=True):
        for i, segment in enumerate(segments):
            taps = [k for k in range(len(kernel)) if i >= k and segments[i - k] == segment]
            result.append(torch.stack([kernel[k] * row[i - k] for k in taps]).sum(0))
    return torch.stack(result).view_as(x)


@pytest.mark.parametrize("taps", [1, 2, 4, 9, 20])
def test_convolution(taps: int) -> None:
    document = torch.tensor([[0] * 2 + [1] * 5 + [-1] * 2, [0] * 9])
    x, kernel = leaf(2, 9, 3), leaf(taps, 3)
    reach = reach_back(document, taps, x.dtype)
    mine = _Convolve.apply(x, kernel, *reach)
    assert_same_with_gradients(mine, plain_convolution(x, kernel, document), [x, kernel])
    assert torch.autograd.gradcheck(lambda x, kernel: _Convolve.apply(x, kernel, *reach), (x, kernel))
