"""AdamW whose iterates are averaged while it runs: Schedule-Free and Generalised Primal Averaging.

Three points share a parameter: z takes the steps, x is the average that is evaluated, y is where gradients are taken.
With g the gradient at y and v the mean of its squares,

    v' = beta2 v + (1 - beta2) g^2
    z' = z - lr (g / (sqrt(v' / (1 - beta2^t)) + eps) + weight_decay y)
    x' = mu_x x + (1 - mu_x) z'
    y' = mu_y x' + (1 - mu_y) z'

Schedule-Free AdamW (Defazio et al., arXiv 2405.15682): mu_y = beta1 and mu_x = 1 - c with c = s_t^2 / (s_1^2 + ... +
s_t^2), s_t the largest schedule factor so far: a uniform mean once the warm-up is over. GPA (Defazio et al., arXiv
2512.17131): both are constants. There is no mean of the gradients; averaging is the momentum.

The model holds y and only z is kept beside it, because x = (y - (1 - mu_y) z) / mu_y.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neat.optim.adamw import Assigned
from neat.optim.values import Values


class AveragedAdamW:
    """The optimizer of all dense parameters.

    Args:
        assigned: The parameters. `betas` of their values are (mu_y, beta2), or (mu_x, mu_y, beta2) for a constant mu_x.
    """

    def __init__(self, assigned: Sequence[Assigned]) -> None:
        self._names = [name for name, _, _ in assigned]
        self._values = [values for _, _, values in assigned]
        self._parameters = [parameter for _, parameter, _ in assigned]
        betas = self._values[0].betas
        self._mu_x = betas[0] if len(betas) == 3 else None
        self._mu_y, self._beta2, self._eps = betas[-2], betas[-1], self._values[0].eps
        self._z = [parameter.detach().clone() for parameter in self._parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self._parameters]
        # On the CPU, where reading them waits for no device.
        self._steps = torch.zeros((), dtype=torch.int64)
        self._sum = torch.zeros((), dtype=torch.float64)
        self._largest = torch.zeros((), dtype=torch.float64)

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Applies one update with all learning rates times `scale`; a parameter without gradient stays."""
        self._steps += 1
        mu_x = self._weight_of_past(scale)
        correction = 1 - self._beta2 ** int(self._steps)
        active = [index for index, parameter in enumerate(self._parameters) if parameter.grad is not None]
        y = [self._parameters[index] for index in active]
        z = [self._z[index] for index in active]
        directions = self._directions(active, correction)
        rates = [self._values[index].lr * scale for index in active]
        torch._foreach_mul_(directions, [-rate for rate in rates])
        torch._foreach_add_(y, z, alpha=self._mu_y - 1)  # mu_y x
        torch._foreach_add_(z, directions)
        torch._foreach_mul_(y, mu_x)
        torch._foreach_add_(y, z, alpha=self._mu_y * (1 - mu_x) + 1 - self._mu_y)

    @torch.no_grad()
    def average(self) -> dict[str, Tensor]:
        """The point x by parameter name, computed from y and z."""
        found = torch._foreach_add(
            [parameter.detach() for parameter in self._parameters], self._z, alpha=self._mu_y - 1
        )
        torch._foreach_div_(found, self._mu_y)
        return dict(zip(self._names, found, strict=True))

    def state(self) -> dict[str, Tensor]:
        """z, mean squares and counters by name; the tensors are the live ones."""
        state = {f"averaged.z.{name}": z for name, z in zip(self._names, self._z, strict=True)}
        state |= {f"averaged.squares.{name}": v for name, v in zip(self._names, self._squares, strict=True)}
        counters = {"steps": self._steps, "sum": self._sum, "largest": self._largest}
        return state | {f"averaged.{name}": counter for name, counter in counters.items()}

    def values(self) -> dict[str, Values]:
        """What each parameter is updated with, as `step` uses it."""
        betas = (self._mu_y, self._beta2) if self._mu_x is None else (self._mu_x, self._mu_y, self._beta2)
        return {
            name: Values(own.optimizer, own.lr, own.weight_decay, betas, self._eps)
            for name, own in zip(self._names, self._values, strict=True)
        }

    def _weight_of_past(self, scale: float) -> float:
        """mu_x of this step."""
        if self._mu_x is not None:
            return self._mu_x
        self._largest.clamp_(min=scale)
        weight = self._largest.square()
        self._sum += weight
        return 1 - float(weight / self._sum)

    def _directions(self, active: list[int], correction: float) -> list[Tensor]:
        """AdamW's direction without a mean of the gradients, weight decay included."""
        gradients = [gradient for index in active if (gradient := self._parameters[index].grad) is not None]
        squares = [self._squares[index] for index in active]
        torch._foreach_mul_(squares, self._beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - self._beta2)
        roots = torch._foreach_div(squares, correction)
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, self._eps)
        directions = list(torch._foreach_div(gradients, roots))
        for direction, index in zip(directions, active, strict=True):
            if self._values[index].weight_decay:
                direction.add_(self._parameters[index], alpha=self._values[index].weight_decay)
        return directions
