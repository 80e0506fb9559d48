"""Muon: momentum, then orthogonalisation, for the hidden matrices.

After K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). One update equals
`torch.optim.Muon` with `adjust_lr_fn="original"`; here all matrices of one shape are orthogonalised in one batched
product, and a stacked projection (`SplitLinear`) is treated as the matrices it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neat.optim.values import Values

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Quintic of the Newton-Schulz iteration, chosen for slope at zero rather than for exact convergence."""


def orthogonalise(stack: Tensor, steps: int) -> Tensor:
    """Newton-Schulz iteration towards the nearest semi-orthogonal matrix, [S, R, C] -> bfloat16 [S, R, C]."""
    a, b, c = COEFFICIENTS
    x = stack.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if tall else x


@dataclass(slots=True)
class Matrix:
    """One parameter with the row counts of the matrices it stacks, and its factor on the learning rate."""

    name: str
    parameter: Tensor
    splits: tuple[int, ...]
    factor: float = 1.0


class Muon:
    """The optimizer of the hidden matrices.

    Args:
        matrices: Parameters, each two-dimensional.
        lr: Learning rate before the schedule; an update has spectral norm about `lr * sqrt(max(1, R / C))`.
        weight_decay: Decoupled decay per unit of learning rate.
        nesterov: Look ahead along the momentum.
        steps: Newton-Schulz iterations.
    """

    def __init__(
        self, matrices: Sequence[Matrix], *, lr: float, weight_decay: float, nesterov: bool, steps: int
    ) -> None:
        self.matrices = list(matrices)
        self.lr, self.weight_decay, self.nesterov, self.steps = lr, weight_decay, nesterov, steps
        self._momentum = [torch.zeros_like(matrix.parameter) for matrix in self.matrices]
        self._by_shape = _by_shape(self.matrices)

    @torch.no_grad()
    def step(self, scale: float, momentum: float) -> None:
        """Applies one update with the learning rate `scale * lr`."""
        lr = self.lr * scale
        parameters = [matrix.parameter for matrix in self.matrices]
        gradients = [_gradient(matrix) for matrix in self.matrices]
        torch._foreach_lerp_(self._momentum, gradients, 1 - momentum)
        updates = torch._foreach_lerp(gradients, self._momentum, momentum) if self.nesterov else self._momentum
        for factor in dict.fromkeys(matrix.factor for matrix in self.matrices):
            members = [matrix.parameter for matrix in self.matrices if matrix.factor == factor]
            torch._foreach_mul_(members, 1 - lr * factor * self.weight_decay)
        for (rows, columns, factor), places in self._by_shape.items():
            stack = torch.stack([_part(updates[index], offset, rows) for index, offset in places])
            direction = orthogonalise(stack, self.steps)
            targets = [_part(parameters[index], offset, rows) for index, offset in places]
            rate = -lr * factor * max(1.0, rows / columns) ** 0.5
            torch._foreach_add_(targets, list(direction.to(targets[0].dtype).unbind()), alpha=rate)

    def state(self) -> dict[str, Tensor]:
        """Momentum buffers by parameter name."""
        return {f"muon.momentum.{m.name}": b for m, b in zip(self.matrices, self._momentum, strict=True)}

    def values(self, name: str) -> dict[str, Values]:
        """What each matrix is updated with, under the optimizer's `name`."""
        return {m.name: Values(name, self.lr * m.factor, self.weight_decay) for m in self.matrices}


def _gradient(matrix: Matrix) -> Tensor:
    gradient = matrix.parameter.grad
    return torch.zeros_like(matrix.parameter) if gradient is None else gradient


def _by_shape(matrices: Sequence[Matrix]) -> dict[tuple[int, int, float], list[tuple[int, int]]]:
    """(rows, columns, factor) -> (index of the parameter, first row) of each matrix that is updated alike."""
    shapes: dict[tuple[int, int, float], list[tuple[int, int]]] = {}
    for index, matrix in enumerate(matrices):
        offset = 0
        for rows in matrix.splits:
            shapes.setdefault((rows, matrix.parameter.shape[1], matrix.factor), []).append((index, offset))
            offset += rows
    return shapes


def _part(tensor: Tensor, offset: int, rows: int) -> Tensor:
    return tensor.narrow(0, offset, rows)
