"""Temperature and nucleus, by counting."""

from __future__ import annotations

import math

import pytest
import torch

from neat.model.text.sampling import sample_byte

LOGITS = torch.full((256,), -torch.inf)
# 0.5, 0.25, 0.125, 0.125 for bytes 9, 3, 200, 7.
for byte, share in ((9, 0.5), (3, 0.25), (200, 0.125), (7, 0.125)):
    LOGITS[byte] = math.log(share)


def draws(temperature: float, top_p: float, logits: torch.Tensor = LOGITS, count: int = 4000) -> dict[int, float]:
    """Shares of the bytes drawn."""
    generator = torch.Generator().manual_seed(0)
    drawn = [sample_byte(logits, temperature, top_p, generator) for _ in range(count)]
    return {byte: drawn.count(byte) / count for byte in sorted(set(drawn))}


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (1.0, {9: 0.5, 3: 0.25, 7: 0.125, 200: 0.125}),
        (0.76, {9: 4 / 7, 3: 2 / 7, 7: 1 / 7}),
        (0.75, {9: 2 / 3, 3: 1 / 3}),
        (0.51, {9: 2 / 3, 3: 1 / 3}),
        (0.5, {9: 1.0}),
        (1e-9, {9: 1.0}),
    ],
)
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(top_p: float, expected: dict[int, float]) -> None:
    found = draws(1.0, top_p)
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=0.03)


def test_temperature_sharpens_before_the_nucleus_is_cut() -> None:
    # At one half the probabilities are squared: 8/11, 2/11, and twice 1/22.
    assert draws(0.5, 1.0) == pytest.approx({9: 8 / 11, 3: 2 / 11, 7: 1 / 22, 200: 1 / 22}, abs=0.03)
    assert draws(0.5, 0.72).keys() == {9}


def test_temperature_zero_takes_the_most_likely_byte() -> None:
    assert draws(0.0, 0.1, count=1) == {9: 1.0}


@pytest.mark.parametrize("temperature", [1e-12, 1e-300])
def test_a_tiny_temperature_is_almost_zero(temperature: float) -> None:
    assert draws(temperature, 1.0, torch.arange(256.0), count=3) == {255: 1.0}


def test_top_k_leaves_only_so_many() -> None:
    logits = torch.linspace(0, 1, 256)[torch.randperm(256, generator=torch.Generator().manual_seed(0))]
    likely = set(logits.topk(3).indices.tolist())
    generator = torch.Generator().manual_seed(1)
    assert {sample_byte(logits, 1.0, 1.0, generator, 3) for _ in range(200)} == likely
    assert sample_byte(logits, 1.0, 1.0, generator, 1) == int(logits.argmax())
    # Without a limit, and with one that is none, the choices are the same.
    free, wide = (torch.Generator().manual_seed(2) for _ in range(2))
    assert [sample_byte(logits, 1.0, 0.9, free) for _ in range(20)] == [
        sample_byte(logits, 1.0, 0.9, wide, 256) for _ in range(20)
    ]
