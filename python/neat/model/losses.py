"""Losses, in nats. Quality is reported in bits per byte: nats / ln 2."""

from __future__ import annotations

import math

import torch
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
        logits: [B, N, 256], or 257 with images.
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
        the same loss after r applications of the latent transformer, where a weight is set for it. With images, `image`
        is in nats and, like `discrepancy`, summed over the scored codes; `codes` is their number.
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
    if outputs.image_logits is not None:
        assert outputs.codebook is not None and batch.code_targets is not None
        vision, targets = config.vision, batch.code_targets
        parts["image"] = code_loss(outputs.image_logits, targets)
        parts["discrepancy"] = token_discrepancy(outputs.image_logits, targets, outputs.codebook)
        parts["codes"] = (targets >= 0).sum()
        total = total + vision.loss_weight * parts["image"] + vision.discrepancy_weight * parts["discrepancy"]
    return total, parts


def code_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of the cross-entropies of the image codes over scored patches, in nats.

    Args:
        logits: [B, P, K].
        targets: Code after each patch, [B, P]; patches with -100 carry no loss.
    """
    flat = logits.flatten(0, 1)
    return F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORED_TARGET, reduction="sum")


def token_discrepancy(logits: Tensor, targets: Tensor, codebook: Tensor) -> Tensor:
    """Expected distance between the code that is predicted and the right one, summed over scored patches.

    MVoT's loss (arXiv 2501.07542, section 3.2): `sum_k S[t, k] P(k)`, where S is the mean squared difference of two
    entries, here divided by its own mean over all pairs, so that a prediction by chance costs about 1. With m the
    mean entry under P it is `(|m - e_t|^2 + E_P |e - m|^2) / 2C`: no table of all pairs is made. The codebook gets no
    gradient.

    Args:
        logits: [B, P, K].
        targets: Code after each patch, [B, P]; patches with a negative one carry no loss.
        codebook: Standardised entries, whose mean squared difference is 2, [K, C].
    """
    codebook = codebook.detach().to(logits.dtype)
    probability = logits.softmax(dim=-1)
    mean = probability @ codebook
    spread = probability @ codebook.square().sum(-1) - mean.square().sum(-1)
    off = (mean - codebook[targets.clamp(min=0)]).square().sum(-1)
    distance = (off + spread) / (2 * codebook.shape[1])
    return torch.where(targets >= 0, distance, 0.0).sum()
