"""Experts beside memory, recursion, halting and the levers: the same guarantees, and what one network fills with
its weights belongs to it alone.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.networks import network, scattered, whole
from support.streams import read_in_chunks
from support.text import forward, prose, rows

from neat.config.schema import Expert, Memory, Recursion
from neat.model.experts.vectors import Experts, mixed
from neat.model.neat import NeatModel

TEXTS = [prose(5, 12)[:60], prose(6, 12)[:57]]
CASES: dict[str, dict[str, Any]] = {
    variant: {"memory": Memory.model_validate({"variant": variant, "heads": 2, "hidden": 4, "chunk": 4})}
    for variant in ("mag", "mac", "mal", "lmm")
} | {
    "recursion": {"recursion": Recursion(depth=3)},
    "halting": {"recursion": Recursion(depth=3, halting=True)},
    "memory and halting": {
        "memory": Memory.model_validate({"variant": "mag", "heads": 2, "hidden": 4, "chunk": 4}),
        "recursion": Recursion(depth=2, halting=True),
    },
}


def model_of(name: str, count: int = 1) -> NeatModel:
    model = scattered(network(window=5), **CASES[name], expert=Expert(count=count))
    model.latent.progress(1, 1)
    return model


def experts_of(model: NeatModel) -> Experts:
    assert model.experts is not None
    return model.experts


@pytest.mark.parametrize("name", CASES)
def test_a_vector_of_ones_changes_no_bit(name: str) -> None:
    torch.manual_seed(0)
    model = NeatModel(whole(network(window=5), **CASES[name], expert=Expert(count=1))).eval()
    torch.manual_seed(0)
    plain = NeatModel(whole(network(window=5), **CASES[name])).eval()
    batch = rows(network(), TEXTS, 64)
    expected = forward(plain, batch)
    assert torch.equal(forward(model, batch), expected)
    experts = experts_of(model)
    with experts.applied(torch.zeros(experts.size)):
        assert torch.equal(forward(model, batch), expected)


@pytest.mark.parametrize("name", CASES)
def test_the_three_forms_agree_and_the_base_stays(name: str) -> None:
    model, batch = model_of(name), rows(network(), TEXTS, 64)
    experts, base = experts_of(model), forward(model, batch)
    offsets = torch.randn(experts.size, dtype=torch.float64) * 0.3
    merged = forward(mixed(model, offsets), batch)
    assert not torch.allclose(merged, base)
    torch.testing.assert_close(forward(mixed(model, offsets.expand(2, -1)), batch), merged, rtol=0, atol=1e-9)
    with experts.applied(offsets):
        torch.testing.assert_close(forward(model, batch), merged, rtol=0, atol=1e-9)
    assert torch.equal(forward(model, batch), base)


@pytest.mark.parametrize("name", CASES)
def test_a_mixed_network_reads_on_from_its_own_cache(name: str) -> None:
    model, batch = model_of(name), rows(network(), TEXTS, 64)
    twin = mixed(model, torch.randn(experts_of(model).size, dtype=torch.float64) * 0.3)
    cuts = [[min(at, len(text)) for text in TEXTS] for at in (*range(3, 64, 3), 64)]
    found = read_in_chunks(twin, batch, cuts, twin.new_cache(2))
    expected = forward(twin, batch)
    for row, text in enumerate(TEXTS):
        torch.testing.assert_close(found[row, : len(text)], expected[row, : len(text)], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["mag", "memory and halting"])
def test_the_gradient_of_the_vector_is_that_of_differences(name: str) -> None:
    model, batch = model_of(name), rows(network(), TEXTS[:1], 64)
    experts = experts_of(model.requires_grad_(False))
    offsets = (torch.randn(experts.size, dtype=torch.float64) * 0.1).requires_grad_()

    def loss(at: torch.Tensor) -> torch.Tensor:
        with experts.applied(at):
            return model(batch).tanh().sum()

    (gradient,) = torch.autograd.grad(loss(offsets), offsets)
    direction = torch.randn_like(gradient)
    step = 1e-6
    with torch.no_grad():
        difference = (loss(offsets + step * direction) - loss(offsets - step * direction)) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-5, atol=1e-6)
    assert bool((gradient != 0).all())
