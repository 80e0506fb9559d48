"""Losses, in nats. Quality is reported in bits per byte: nats / ln 2."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from neat.model.batch import IGNORED_TARGET

NATS_PER_BIT = math.log(2)


def byte_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of the cross-entropies of the next byte over scored positions, in nats.

    Args:
        logits: [B, N, 256].
        targets: [B, N]; positions with -100 carry no loss.
    """
    flat = logits.flatten(0, 1)
    return F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORED_TARGET, reduction="sum")
