"""The cross-entropy method: maximises a score over [0, 1]^K by sampling and refitting a normal distribution.

P candidates per round, K weights. Rubinstein 1999; used for mixtures of experts by Transformer² (arXiv 2501.06252).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Score = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Candidates [P, K] -> what is maximised [P], and what decides between equals [P]."""

POPULATION, ELITE, ROUNDS = 32, 0.2, 50
SETTLED = 1e-3
"""Standard deviation of every weight below which the search ends."""


class Found(NamedTuple):
    """The best candidate that was seen.

    Attributes:
        weights: [K], each in [0, 1].
        score: What was maximised.
        tie: What decided between equals.
        rounds: Rounds until the search settled or ended.
    """

    weights: Tensor
    score: float
    tie: float
    rounds: int


def maximise(
    score: Score, size: int, *, population: int = POPULATION, elite: float = ELITE, rounds: int = ROUNDS, seed: int = 0
) -> Found:
    """Searches for the weights with the highest score, ties broken by the second one.

    The first population holds the zero vector and the unit vectors, so the result is never worse than no expert or any
    single one.

    Args:
        score: What is maximised.
        size: K.
        population: P.
        elite: Share of the population that the next distribution is fitted to.
        rounds: Most rounds.
        seed: Of the candidates.
    """
    generator = torch.Generator().manual_seed(seed)
    kept = max(2, round(elite * population))
    mean, deviation = torch.full((size,), 0.5), torch.full((size,), 0.5)
    best: Found | None = None
    for number in range(1, rounds + 1):
        candidates = (mean + deviation * torch.randn(population, size, generator=generator)).clamp(0.0, 1.0)
        if number == 1:
            certain = torch.cat((torch.zeros(1, size), torch.eye(size)))[:population]
            candidates[: len(certain)] = certain
        values, ties = score(candidates)
        order = sorted(range(population), key=lambda i: (float(values[i]), float(ties[i])), reverse=True)
        top = order[0]
        found = Found(candidates[top].clone(), float(values[top]), float(ties[top]), number)
        if best is None or (found.score, found.tie) > (best.score, best.tie):
            best = found
        elites = candidates[order[:kept]]
        mean, deviation = elites.mean(0), elites.std(0)
        if float(deviation.max()) < SETTLED:
            break
    assert best is not None
    return best._replace(rounds=number)
