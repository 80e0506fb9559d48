"""Where the weights have been: a smoothed point, an anchor behind it, and the displacement between the two.

The smoothed point is E <- E + (1 - r)(w - E) with r = 1 - 2 / W for a window of W steps: it keeps the slow part of the
path and drops the part that one batch gives and the next takes away (river and hill, arXiv 2410.05192). The literal
mode follows the weights themselves instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

EVERY = 4
"""Steps between updates of the smoothed point; rarer ones of the same horizon cost less memory traffic."""


class Trajectory:
    """Point and anchor of the dense parameters; hash tables have no direction worth following.

    Args:
        parameters: (name, parameter).
        smoothed: Whether the point is the smoothed one; otherwise it is the weights themselves.
    """

    def __init__(self, parameters: Sequence[tuple[str, Tensor]], *, smoothed: bool) -> None:
        self.names = [name for name, _ in parameters]
        self.weights = [parameter.detach() for _, parameter in parameters]
        self.smoothed = smoothed
        self.point = [weight.clone() for weight in self.weights] if smoothed else self.weights
        self.anchor = [weight.clone() for weight in self.weights]
        self.anchor_step = 0

    @torch.no_grad()
    def update(self, step: int, window: int) -> None:
        """Takes the weights after `step` steps into the smoothed point."""
        if self.smoothed and step % EVERY == 0:
            keep = max(0.0, 1 - 2 / window) ** EVERY
            torch._foreach_lerp_(self.point, self.weights, 1 - keep)

    @torch.no_grad()
    def restart(self, step: int) -> None:
        """Point and anchor become the weights of the moment."""
        if self.smoothed:
            torch._foreach_copy_(self.point, self.weights)
        self.mark(step)

    @torch.no_grad()
    def mark(self, step: int) -> None:
        """The anchor becomes the point."""
        torch._foreach_copy_(self.anchor, self.point)
        self.anchor_step = step

    @torch.no_grad()
    def displacement(self) -> list[Tensor]:
        """Point minus anchor: one full-size tensor per parameter, new ones."""
        return list(torch._foreach_sub(self.point, self.anchor))

    @torch.no_grad()
    def move(self, delta: Sequence[Tensor], share: float) -> None:
        """Adds `share * delta` to the weights and to the smoothed point, in place."""
        torch._foreach_add_(self.weights, list(delta), alpha=share)
        if self.smoothed:
            torch._foreach_add_(self.point, list(delta), alpha=share)

    def state(self) -> dict[str, Tensor]:
        """Live tensors by name; the anchor's step is not among them."""
        found = {f"trajectory.anchor.{name}": t for name, t in zip(self.names, self.anchor, strict=True)}
        if self.smoothed:
            found |= {f"trajectory.point.{name}": t for name, t in zip(self.names, self.point, strict=True)}
        return found


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """Norm over all tensors together, on their device."""
    lengths = torch.stack(list(torch._foreach_norm(list(tensors)))).float()
    return cast(Tensor, torch.linalg.vector_norm(lengths))


def dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Inner product over all tensors together, on their device."""
    products = [torch.dot(a.flatten().float(), b.flatten().float()) for a, b in zip(left, right, strict=True)]
    return torch.stack(products).sum()
