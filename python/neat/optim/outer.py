"""An optimizer around the optimizer: a Nesterov step along what several updates moved.

SNOO (Kallusky et al., arXiv 2510.15830), the one-worker form of DiLoCo (arXiv 2311.08105). Every K updates, with s the
slow weights, w the weights now, and Nesterov momentum as in torch's SGD,

    delta = s - w,  b <- mu b + delta,  s <- s - lr (delta + mu b),  w <- s.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Snoo:
    """The outer steps of the dense parameters; hash tables go on alone.

    Args:
        parameters: (name, parameter).
        every: Updates between outer steps.
        lr: Learning rate of the outer step.
        momentum: Its Nesterov momentum.
    """

    def __init__(self, parameters: Sequence[tuple[str, Tensor]], *, every: int, lr: float, momentum: float) -> None:
        self.every, self.lr, self.momentum = every, lr, momentum
        self._names = [name for name, _ in parameters]
        self._live = [parameter.detach() for _, parameter in parameters]
        self._slow = [weight.clone() for weight in self._live]
        self._velocity = [torch.zeros_like(weight) for weight in self._live]
        # On the CPU, where reading it waits for no device.
        self._updates = torch.zeros((), dtype=torch.int64)

    @torch.no_grad()
    def step(self) -> None:
        """Counts an update of the inner optimizer; takes the outer step when it is due."""
        self._updates += 1
        if int(self._updates) % self.every:
            return
        moved = torch._foreach_sub(self._slow, self._live)
        torch._foreach_mul_(self._velocity, self.momentum)
        torch._foreach_add_(self._velocity, moved)
        torch._foreach_add_(moved, self._velocity, alpha=self.momentum)
        torch._foreach_add_(self._slow, moved, alpha=-self.lr)
        torch._foreach_copy_(self._live, self._slow)

    def state(self) -> dict[str, Tensor]:
        """Slow weights, velocities and the count of updates by name; the tensors are the live ones."""
        slow = {f"outer.slow.{name}": weight for name, weight in zip(self._names, self._slow, strict=True)}
        velocity = {f"outer.velocity.{name}": v for name, v in zip(self._names, self._velocity, strict=True)}
        return slow | velocity | {"outer.updates": self._updates}
