"""What an expert vector is trained on: reward of sampled answers, or the next byte of given ones.

Q questions, S samples of each, B = Q S rows, N positions, V byte classes. All losses are in nats.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from neat.model.batch import IGNORED_TARGET


def advantages(rewards: Tensor) -> Tensor:
    """Rewards [Q, S] less their baseline, the mean reward of the other samples of the same question.

    The baseline of a sample does not depend on the sample itself, so the gradient stays unbiased. One sample has none.
    """
    samples = rewards.shape[1]
    if samples == 1:
        return rewards
    return (rewards - rewards.mean(1, keepdim=True)) * (samples / (samples - 1))


def reinforce(log_probs: Tensor, rewards: Tensor) -> Tensor:
    """Loss whose gradient is in expectation that of minus the mean reward (REINFORCE, Williams 1992).

    Args:
        log_probs: Of each sampled answer under the trained model, [Q, S].
        rewards: Of each sampled answer, [Q, S].
    """
    return -(advantages(rewards) * log_probs).mean()


def divergence(logits: Tensor, base: Tensor, targets: Tensor) -> Tensor:
    """KL(trained || base) of the next byte, exact over all bytes, summed over the scored positions of each row, [B].

    Its gradient is that at the given texts; what the trained model changes about which texts are sampled is left out.

    Args:
        logits: Of the trained model, [B, N, V].
        base: Of the base model on the same rows, [B, N, V].
        targets: -100 where a position is not scored, [B, N].
    """
    trained_log, base_log = F.log_softmax(logits, -1), F.log_softmax(base, -1)
    each = (trained_log.exp() * (trained_log - base_log)).sum(-1)
    return (each * (targets != IGNORED_TARGET)).sum(1)
