"""Matrices whose singular values can be scaled: Transformer²'s SVF (arXiv 2501.06252, section 3.1) as an exact offset.

With W = U diag(s) V^T and an expert vector z the adapted matrix is U diag(s * z) V^T. It is computed as W plus
U diag(s * (z - 1)) V^T, so that z = 1 is W itself, bit for bit, whatever the rounding of the factors. What is stored
and trained is the offset z - 1. A matrix m x n has rank r = min(m, n); B rows.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.model.attention import Attention
from neat.model.experts.decomposition import Factors, decompose
from neat.model.layers import FeedForward


class AdaptedLinear(nn.Linear):
    """A linear layer without bias, [.., n] -> [.., m], whose singular values may be scaled.

    With neither `offsets` nor `merged` set it is a plain linear layer and computes nothing else. The weight itself is
    never changed.

    Attributes:
        offsets: z - 1 of the whole batch [r] or of each row [B, r]; gradients reach it.
        merged: The adapted matrix, used in place of the weight while `offsets` is not set; for one z that serves many
            inputs.
        left, singular, right: Factors of the weight, once `factorise` has been called.
    """

    left: Tensor | None
    singular: Tensor | None
    right: Tensor | None
    merged: Tensor | None

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)
        for name in ("left", "singular", "right", "merged"):
            self.register_buffer(name, None, persistent=False)
        self.offsets: Tensor | None = None
        self._factorised = (0, 0)

    @classmethod
    def of(cls, linear: nn.Linear) -> AdaptedLinear:
        """The layer around the weight of `linear`; draws no random numbers."""
        with torch.device("meta"):
            adapted = cls(linear.in_features, linear.out_features)
        adapted.weight = linear.weight
        return adapted

    @property
    def rank(self) -> int:
        """r, the length of an expert vector for this matrix."""
        return min(self.in_features, self.out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Applies the layer to the last axis; rows of `x` are dim 0."""
        if self.offsets is None:
            return F.linear(x, self.weight if self.merged is None else self.merged)
        base = F.linear(x, self.weight)
        assert self.left is not None and self.singular is not None and self.right is not None
        scale = self.singular * self.offsets
        if scale.dim() == 2:
            scale = scale.view(scale.shape[0], *[1] * (x.dim() - 2), -1)
        inner = F.linear(x, self.right)
        return base + F.linear(inner * scale.to(inner.dtype), self.left)

    @torch.no_grad()
    def factorise(self, folder: Path | None) -> Factors | None:
        """Makes sure that the factors are those of the present weight.

        Returns:
            The factors, or None when the ones at hand are still right.
        """
        # The version counter rises with every change in place, the address with every replacement.
        state = (self.weight.data_ptr(), 0 if self.weight.is_inference() else self.weight._version)
        if self.left is not None and state == self._factorised and self.left.device == self.weight.device:
            return None
        found = decompose(self.weight, folder)
        self.left, self.singular, self.right = found.left, found.singular, found.right
        self._factorised = state
        return found

    @torch.no_grad()
    def merge(self, offsets: Tensor) -> None:
        """From here on the matrix is that of the offsets z - 1 [r]; `unmerge` goes back to the weight."""
        assert self.left is not None and self.singular is not None and self.right is not None
        change = (self.left * (self.singular * offsets)) @ self.right
        self.merged = self.weight + change.to(self.weight.dtype)

    def unmerge(self) -> None:
        """The base weight again, bit for bit: it was never touched."""
        self.merged = None


def adapt_outputs(layers: nn.Module) -> None:
    """Lets the matrices that write into the residual stream be scaled: the last one of each attention and feed-forward.

    They keep their names and values. In all, two thirds of the weights stay common to every expert.
    """
    for module in layers.modules():
        if isinstance(module, Attention):
            module.out = AdaptedLinear.of(module.out)
        elif isinstance(module, FeedForward):
            module.down = AdaptedLinear.of(module.down)
