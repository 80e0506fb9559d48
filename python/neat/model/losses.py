"""Losses, in nats. Quality is reported in bits per byte: nats / ln 2."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from neat.config.schema import Config
from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.halting import halting_losses
from neat.model.outputs import Outputs

NATS_PER_BIT = math.log(2)


def byte_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of the cross-entropies of the next byte over scored positions, in nats.

    Args:
        logits: [B, N, 256].
        targets: [B, N]; positions with -100 carry no loss.
    """
    flat = logits.flatten(0, 1)
    return F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORED_TARGET, reduction="sum")


def objective(outputs: Outputs, batch: Batch, config: Config) -> tuple[Tensor, dict[str, Tensor]]:
    """What a step minimises, summed over scored positions, and its parts by name.

    Args:
        outputs: Of the network for `batch`.
        batch: Holds the targets.
        config: Weights of the parts.

    Returns:
        The weighted sum, and each part before its weight; `byte` is the one that quality is reported from. `byte_r` is
        the same loss after r applications of the latent transformer, where a weight is set for it.
    """
    byte = byte_loss(outputs.logits, batch.targets)
    total, parts = byte, {"byte": byte}
    recursion = config.recursion
    if outputs.earlier and recursion.supervision:
        total = recursion.weights[-1] * byte
        for application, logits in zip(recursion.decoded, outputs.earlier, strict=True):
            if weight := recursion.weights[application]:
                parts[f"byte_{application + 1}"] = byte_loss(logits, batch.targets)
                total = total + weight * parts[f"byte_{application + 1}"]
    if outputs.depth is not None:
        losses = halting_losses(outputs, batch, recursion, patches=config.network.patches)
        weights = {
            "halting": recursion.halt_weight,
            "ponder": recursion.ponder_weight,
            "diversity": recursion.diversity_weight,
        }
        parts |= losses
        total = total + sum(weights[name] * loss for name, loss in losses.items())
    return total, parts
