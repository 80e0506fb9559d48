"""Pieces every block shares: the gainless norm, split projections and the gated feed-forward layer.

B rows, N positions, D width, F feed-forward width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.config.schema import Network

NORM_EPS = 1e-6


def rms_norm(x: Tensor) -> Tensor:
    """Root-mean-square norm over the last axis, without a gain (arXiv 1910.07467).

    The matrix that follows absorbs the gain, so the norm needs no parameter of its own.
    """
    if x.device.type != "cpu":
        return F.rms_norm(x, (x.shape[-1],), eps=NORM_EPS)
    normed: Tensor = _CpuRmsNorm.apply(x)
    return normed


class _CpuRmsNorm(torch.autograd.Function):
    """The same norm with a hand-written gradient: torch has no fused kernel for it on a CPU (4x slower there)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        squares = torch.linalg.vecdot(x, x).unsqueeze(-1)
        inverse = squares.div_(x.shape[-1]).add_(NORM_EPS).rsqrt_()
        normed: Tensor = x * inverse
        ctx.save_for_backward(normed, inverse)
        return normed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        normed, inverse = ctx.saved_tensors
        along = torch.linalg.vecdot(gradient, normed).unsqueeze(-1).div_(normed.shape[-1])
        to_x: Tensor = torch.addcmul(gradient, normed, along, value=-1).mul_(inverse)
        return to_x


class SplitLinear(nn.Linear):
    """Several projections of one input held in one matrix, without bias.

    One matrix product instead of several; the optimizer still treats each part as a matrix of its own,
    because orthogonalising a stack is not orthogonalising its parts.

    Args:
        width: Input features.
        splits: Output features of each part.
    """

    def __init__(self, width: int, splits: Sequence[int]) -> None:
        super().__init__(width, sum(splits), bias=False)
        self.splits = tuple(splits)


class FeedForward(nn.Module):
    """SwiGLU (arXiv 2002.05202, eq. 6): `down(silu(gate(x)) * up(x))`, [B, N, D] -> [B, N, D]."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = SplitLinear(width, (hidden, hidden))
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layer to the last axis."""
        projected: Tensor = self.down(_Gate.apply(self.gate_up(x)))
        return projected


class SquaredFeedForward(nn.Module):
    """`down(leaky_relu(up(x), 0.5)^2)`, [B, N, D] -> [B, N, D]; a variant of arXiv 2109.08668's squared ReLU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layer to the last axis."""
        projected: Tensor = self.down(F.leaky_relu(self.up(x), 0.5).square())
        return projected


def feed_forward(network: Network, width: int, hidden: int) -> FeedForward | SquaredFeedForward:
    """The kind that `network.activation` names, with the parameters of a gated one of `hidden` floats."""
    if network.activation == "swiglu":
        return FeedForward(width, hidden)
    return SquaredFeedForward(width, hidden * 3 // 2)


class _Gate(torch.autograd.Function):
    """`silu(gate) * up` on [.., 2F] holding both halves; keeps what its gradient needs."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        active = F.silu(gate)
        ctx.save_for_backward(gate, up, active)
        return active * up

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gate, up, active = ctx.saved_tensors
        to_gate = torch.ops.aten.silu_backward(gradient * up, gate)
        return torch.cat((to_gate, gradient * active), dim=-1)


def shift(x: Tensor, positions: int) -> Tensor:
    """Moves [B, N, D] right along N by `positions`; what enters on the left is zero."""
    return F.pad(x[:, : x.shape[1] - positions], (0, 0, positions, 0))


def same_document(document: Tensor, positions: int) -> Tensor:
    """True where position i and position i - `positions` lie in one segment, [B, N]."""
    previous = F.pad(document, (positions, 0), value=-2)[:, : document.shape[1]]
    return torch.eq(document, previous)
