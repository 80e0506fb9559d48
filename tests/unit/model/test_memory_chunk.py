"""A chunk with its gradients written out against the same chunk by autograd, with products in half precision."""

from __future__ import annotations

import pytest
import torch
from support.memories import random_weights, random_writes
from torch import Tensor

from neat.model.memory.chunk import fast_chunk
from neat.model.memory.rule import begin, learn_chunk, places
from neat.model.memory.terms import Chunk, Rule, Weights, Writes

HEADS, WIDTH, HIDDEN, NUM = 2, 8, 12, 16
DOCUMENTS = {"one": [0] * 16, "two": [0] * 7 + [1] * 9, "padded": [0] * 11 + [-1] * 5}


def inputs(dtype: torch.dtype) -> tuple[Weights, Writes]:
    """Weights and two rows of writes that take part in the graph; the same numbers for every type."""
    torch.manual_seed(3)
    fresh, writes = random_weights(HEADS, WIDTH, HIDDEN), random_writes(2, HEADS, NUM, WIDTH)
    return (
        Weights(*(x.to(dtype).requires_grad_() for x in fresh)),
        Writes(*(x.to(dtype).requires_grad_() for x in writes)),
    )


def outcome(kind: str, document: list[int], dtype: torch.dtype, product: torch.dtype) -> tuple[Tensor, ...]:
    """Reads, state and the gradients of both with respect to everything that is learned."""
    fresh, writes = inputs(dtype)
    place = places(torch.tensor([document, [0] * NUM]), NUM)[0]
    state, rule = begin(fresh, 2), Rule(0.3, True, 0.0, product)
    if kind == "fast":
        found: Chunk = fast_chunk(state, fresh, writes, place, rule)
    else:
        found = learn_chunk(state, state.weights, writes, place, rule, fresh=fresh)
    real = torch.tensor([document, [0] * NUM])[:, None, :, None] >= 0
    results = (found.reads * real, *found.state)
    total = sum((result.double().square().sum() for result in results), start=torch.zeros((), dtype=torch.float64))
    return (*(result.detach() for result in results), *torch.autograd.grad(total, (*fresh, *writes)))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_equals_autograd(name: str) -> None:
    mine, plain = (outcome(kind, DOCUMENTS[name], torch.float64, torch.float64) for kind in ("fast", "plain"))
    for one, other in zip(mine, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_half_precision_is_about_as_exact_as_autograd_with_the_same_products(name: str) -> None:
    exact = outcome("plain", DOCUMENTS[name], torch.float64, torch.float64)
    plain, fast = (outcome(kind, DOCUMENTS[name], torch.float32, torch.bfloat16) for kind in ("plain", "fast"))
    assert {result.dtype for result in fast} == {torch.float32}
    for mine, other, right in zip(fast, plain, exact, strict=True):
        errors = [float((half.double() - right).norm() / right.norm()) for half in (mine, other)]
        assert 1e-5 < errors[0] < max(3 * errors[1], 0.01), errors
