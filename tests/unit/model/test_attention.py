"""Attention against a loop over positions in float64, and rotary positions against complex numbers."""

from __future__ import annotations

import math

import pytest
import torch
from support.networks import scatter
from support.rotary import THETA, turned
from torch import Tensor

from neat.model.attention import Attention, make_span, rotate

# Rotary tables are float32 at any model precision.
TABLE_ROUNDING = 2e-6


def slow_attention(module: Attention, x: Tensor, document: list[int], window: int) -> Tensor:
    """One row, [N, D] -> [N, D], query by query and head by head."""
    width, size = x.shape[1], module.head_width
    query, key, value = module.qkv.weight.split(module.qkv.splits)
    mixed = torch.zeros_like(x)
    for head in range(module.heads):
        group = head * module.kv_heads // module.heads
        q, k, v = (
            x @ matrix[at * size : (at + 1) * size].T for matrix, at in ((query, head), (key, group), (value, group))
        )
        if module.qk_norm:
            q, k = (y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() for y in (q, k))
        q = torch.tensor([turned(vector, at) for at, vector in enumerate(q)], dtype=x.dtype)
        k = torch.tensor([turned(vector, at) for at, vector in enumerate(k)], dtype=x.dtype)
        for i in range(len(x)):
            first = max(0, i - window + 1) if window else 0
            seen = [j for j in range(first, i + 1) if document[j] == document[i]]
            scores = torch.stack([q[i] @ k[j] for j in seen]) / math.sqrt(size)
            mixed[i, head * size : (head + 1) * size] = scores.softmax(0) @ v[seen]
    assert width == module.heads * size
    return mixed @ module.out.weight.T


DOCUMENTS = {
    "one document": [0] * 13,
    "three documents": [0] * 3 + [1] + [2] * 9,
    "padding at the end": [0] * 5 + [1] * 4 + [-1] * 4,
}


@pytest.mark.parametrize("window", [0, 1, 4, 5, 12, 13, 40])
@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
@pytest.mark.parametrize(("heads", "kv_heads", "qk_norm"), [(4, 4, True), (4, 2, False), (4, 1, True)])
def test_equals_a_loop(window: int, document: list[int], heads: int, kv_heads: int, qk_norm: bool) -> None:
    module = Attention(16, heads, kv_heads, qk_norm=qk_norm).double()
    scatter(module)
    x = torch.randn(2, len(document), 16, dtype=torch.float64)
    documents = torch.tensor([document, document[:1] * len(document)])
    with torch.no_grad():
        result = module(x, make_span(documents, window, module.head_width, THETA))
        for row in range(2):
            expected = slow_attention(module, x[row], documents[row].tolist(), window)
            torch.testing.assert_close(result[row], expected, rtol=0, atol=TABLE_ROUNDING)


@pytest.mark.parametrize("window", [4, 5, 12])
def test_short_windows_have_the_gradient_of_the_masked_row(window: int) -> None:
    """Only windows shorter than the row go block by block, so a mask of the whole row is another way there."""
    module = Attention(8, 2, 2, qk_norm=True).double()
    scatter(module)
    document = torch.tensor([[0] * 6 + [1] * 7])
    x = torch.randn(1, 13, 8, dtype=torch.float64, requires_grad=True)
    blocked = make_span(document, window, module.head_width, THETA)
    assert blocked.block == window
    whole = make_span(document, 0, module.head_width, THETA)
    at = torch.arange(13)
    near = at[:, None] - at[None, :] < window
    whole = type(whole)(whole.allowed & near, 0, whole.cos, whole.sin)
    weight = torch.randn(1, 13, 8, dtype=torch.float64)
    gradients = [torch.autograd.grad((module(x, span) * weight).sum(), x)[0] for span in (blocked, whole)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


def test_rotation_is_multiplication_by_a_complex_number() -> None:
    span = make_span(torch.zeros(1, 30), 0, 6, THETA)
    x = torch.randn(2, 3, 30, 6, dtype=torch.float64)
    expected = torch.tensor([[[turned(v, at) for at, v in enumerate(head)] for head in row] for row in x.unbind()])
    torch.testing.assert_close(rotate(x, span.cos, span.sin), expected.double(), rtol=0, atol=TABLE_ROUNDING)


def test_scores_depend_on_the_distance_only() -> None:
    """What makes a document's result independent of where in a row it stands."""
    span = make_span(torch.zeros(1, 60), 0, 8, THETA)
    query, key = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64).expand(2, 1, 1, 60, 8).unbind()
    scores = rotate(query, span.cos, span.sin)[0, 0] @ rotate(key, span.cos, span.sin)[0, 0].T
    for distance in (0, 1, 7):
        along = scores.diagonal(-distance)
        torch.testing.assert_close(along, along[:1].expand_as(along), rtol=0, atol=2e-5)
    assert scores.diagonal(-1)[0] != scores.diagonal(-7)[0]
