"""The losses of an expert, against sums over every text there is."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from neat.model.batch import IGNORED_TARGET
from neat.model.experts.answers import answer_log_probs
from neat.train.expert_loss import advantages, divergence, reinforce

TEXTS = list(product((0, 1), repeat=2))
REWARDS = dict(zip(TEXTS, (1.0, -1.0, -1.0, 0.5), strict=True))


def log_prob(parameters: Tensor, text: tuple[int, ...]) -> Tensor:
    """A policy over two symbols: the second depends on the first."""
    first = torch.log_softmax(parameters[0], -1)[text[0]]
    return first + torch.log_softmax(parameters[1 + text[0]], -1)[text[1]]


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_the_expected_gradient_is_that_of_the_expected_reward(samples: int) -> None:
    """Over every possible draw of `samples` texts, with the probability of that draw."""
    parameters = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    expected_reward = sum((log_prob(parameters, text).exp() * REWARDS[text] for text in TEXTS), start=torch.zeros(()))
    (exact,) = torch.autograd.grad(-expected_reward, parameters)
    mean = torch.zeros_like(exact)
    for drawn in product(TEXTS, repeat=samples):
        log_probs = torch.stack([log_prob(parameters, text) for text in drawn])
        rewards = torch.tensor([[REWARDS[text] for text in drawn]], dtype=torch.float64)
        (gradient,) = torch.autograd.grad(reinforce(log_probs[None], rewards), parameters)
        mean += log_probs.sum().exp().detach() * gradient
    torch.testing.assert_close(mean, exact, rtol=0, atol=1e-12)


def test_the_baseline_is_the_mean_of_the_others() -> None:
    rewards = torch.tensor([[1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    expected = torch.tensor([[2.0, -1.0, -1.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(advantages(rewards), expected)
    assert torch.equal(advantages(rewards[:, :1]), rewards[:, :1])


def test_the_divergence_is_exact_positive_and_zero_at_the_base() -> None:
    logits, base = torch.randn(2, 3, 4, 9, dtype=torch.float64)
    targets = torch.tensor([[1, 2, IGNORED_TARGET, 3]] * 2 + [[IGNORED_TARGET] * 4])
    found = divergence(logits, base, targets)
    reference = torch.zeros(3, dtype=torch.float64)
    for row, position in product(range(3), range(4)):
        if targets[row, position] >= 0:
            p, q = (torch.softmax(x[row, position], -1) for x in (logits, base))
            reference[row] += (p * (p / q).log()).sum()
    torch.testing.assert_close(found, reference, rtol=0, atol=1e-12)
    assert bool((found[:2] > 0).all()) and found[2] == 0
    assert not divergence(base, base, targets).any()


def test_log_probabilities_of_answers() -> None:
    logits = torch.randn(2, 3, 5, dtype=torch.float64)
    targets = torch.tensor([[IGNORED_TARGET, 4, 0], [IGNORED_TARGET, IGNORED_TARGET, 2]])
    table = torch.log_softmax(logits, -1)
    expected = torch.stack([table[0, 1, 4] + table[0, 2, 0], table[1, 2, 2]])
    torch.testing.assert_close(answer_log_probs(logits, targets), expected, rtol=0, atol=1e-12)
