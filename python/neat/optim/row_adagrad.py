"""Row-wise Adagrad for hash tables: one accumulator per row, and only the rows that a step touched are updated.

`G_r += mean(g_r^2)`, `w_r -= lr * g_r / (sqrt(G_r) + eps)` (Adagrad, Duchi et al. 2011, with one second moment per
row). Time and traffic follow the batch, not the table.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neat.optim.values import Values

EPS = 1e-8


class RowAdagrad:
    """The optimizer of one table with sparse gradients, [R, D]."""

    def __init__(self, name: str, table: Tensor, *, lr: float) -> None:
        self.name, self.table, self.lr = name, table, lr
        self._squares = torch.zeros(table.shape[0], dtype=table.dtype, device=table.device)

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Applies one update with the learning rate `scale * lr`."""
        if self.table.grad is None:
            return
        gradient = self.table.grad.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        squares = self._squares.index_select(0, rows) + values.square().mean(1)
        self._squares.index_copy_(0, rows, squares)
        change = values * (-self.lr * scale / (squares.sqrt() + EPS))[:, None]
        self.table.index_add_(0, rows, change)

    def state(self) -> dict[str, Tensor]:
        """The accumulator by parameter name, [R]."""
        return {f"row_adagrad.squares.{self.name}": self._squares}

    def values(self) -> dict[str, Values]:
        """What the table is updated with."""
        return {self.name: Values("row-wise adagrad", self.lr)}
