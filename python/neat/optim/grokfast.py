"""The Grokfast filter: slow components of the gradients are amplified before the optimizer sees them.

Grokfast-EMA (Lee et al., arXiv 2405.20233, algorithm 2): m <- alpha m + (1 - alpha) g, g <- g + lambda m, where m
begins as the first gradient. In front of Muon it makes MuGrokfast.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Grokfast:
    """The filter of all dense gradients.

    Args:
        parameters: (name, parameter).
        alpha: Decay of the mean per update, in [0, 1).
        weight: The factor lambda.
    """

    def __init__(self, parameters: Sequence[tuple[str, Tensor]], alpha: float, weight: float) -> None:
        self.alpha, self.weight = alpha, weight
        self._parameters = list(parameters)
        self._means = [torch.zeros_like(parameter) for _, parameter in parameters]
        # Whether a parameter has had a gradient; on the CPU, where reading it waits for no device.
        self._begun = torch.zeros(len(self._means), dtype=torch.bool)

    @torch.no_grad()
    def apply(self) -> None:
        """Filters the gradients in place; a parameter without one is left out."""
        active = [i for i, (_, parameter) in enumerate(self._parameters) if parameter.grad is not None]
        if not active:
            return
        begun = self._begun.tolist()
        for index in active:
            gradient = self._parameters[index][1].grad
            if not begun[index] and gradient is not None:
                self._means[index].copy_(gradient)
        self._begun[active] = True
        gradients = [gradient for index in active if (gradient := self._parameters[index][1].grad) is not None]
        means = [self._means[index] for index in active]
        torch._foreach_lerp_(means, gradients, 1 - self.alpha)
        torch._foreach_add_(gradients, means, alpha=self.weight)

    def state(self) -> dict[str, Tensor]:
        """The means by parameter name, and which have begun; the tensors are the live ones."""
        names = (name for name, _ in self._parameters)
        means = {f"grokfast.mean.{name}": mean for name, mean in zip(names, self._means, strict=True)}
        return means | {"grokfast.begun": self._begun}
