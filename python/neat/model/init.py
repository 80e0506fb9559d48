"""Every parameter's first value, in one table.

Matrices start at a standard deviation of `fan_in ** -0.5`; the ones that write into a residual stream are divided by
the square root of the number of writers; what must start as "off" starts at zero.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

RESIDUAL_WRITERS = ("out.weight", "down.weight")
ZERO = (
    "head.weight", "embedding.hash.weight", "smear.scale", "query_gain.gain", "attention.convolution.kernel",
    "exclusive.share", "head_gate.weight", "latent.skips", "halting.weight", "memory.out.weight", "experts.vectors",
    "vision.head.codes.weight",
)  # fmt: skip
HALF = ("embedding.byte.weight", "embedding.ngram.weight", "vision.embedding.row", "vision.embedding.column")
"""What enters as a sum: square roots of probabilities have unit length, so theirs is as large as a byte's."""
CODEC = "vision.codec."
"""Prefix of weights that are read from a file or fixed, never drawn."""
GATE_BIAS = (-5.0, 1.5, 0.0)
"""Of forgetting, momentum and inner learning rate: a fresh memory forgets 0.7 % per patch and averages over five."""


def initialise(model: nn.Module) -> None:
    """Draws all parameters of `model` from torch's global generator, in the order of `named_parameters`."""
    names = [name for name, _ in model.named_parameters()]
    # The image head has a stream of its own, so images do not change what the rest starts from.
    writers = max(1, sum(name.endswith(RESIDUAL_WRITERS) and not name.startswith("vision.") for name in names))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith(CODEC):
                _draw(name, parameter, writers)


def _draw(name: str, parameter: Tensor, writers: int) -> None:
    if name.endswith(ZERO):
        parameter.zero_()
    elif name.endswith("halting.bias"):
        # A fresh network is right about nothing, and no position stops.
        parameter.fill_(-5.0)
    elif name.endswith("latent.injection"):
        parameter.fill_(1.0)
    elif name.endswith(HALF):
        parameter.normal_(std=0.5)
    elif name.endswith("convolution.kernel"):
        parameter.normal_(std=parameter.shape[0] ** -0.5)
    elif name.endswith("attention.persistent"):
        parameter.normal_(std=parameter.shape[-1] ** -0.5)
    elif name.endswith("memory.gate_bias"):
        parameter.copy_(torch.tensor(GATE_BIAS)[:, None].expand_as(parameter))
    elif name.endswith(RESIDUAL_WRITERS):
        _truncated(parameter, parameter.shape[1] ** -0.5 / math.sqrt(writers))
    else:
        _truncated(parameter, parameter.shape[1] ** -0.5)


def _truncated(parameter: Tensor, std: float) -> None:
    nn.init.trunc_normal_(parameter, std=std, a=-3 * std, b=3 * std)
