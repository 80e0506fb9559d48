"""Refuses updates made of numbers that are not finite, and stops a run that produces nothing else."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from neat.errors import DivergedError


class Guard:
    """Counts skipped updates.

    `loss` and `norm` are those of the last update that was asked about.

    Args:
        max_skipped: Updates skipped in a row before the run stops.
    """

    def __init__(self, max_skipped: int) -> None:
        self.max_skipped = max_skipped
        self.in_a_row = 0
        self.skipped = 0
        self.loss = self.norm = 0.0

    def allows(self, loss: Tensor, norm: Tensor, step: int) -> bool:
        """Whether the update may be applied: loss and gradient norm are finite.

        The answer is needed before the weights change, so this is the one place of a step that waits for the device.

        Raises:
            DivergedError: Too many updates in a row had to be skipped.
        """
        self.loss, self.norm = torch.stack((loss.detach().float(), norm.float())).tolist()
        if math.isfinite(self.loss) and math.isfinite(self.norm):
            self.in_a_row = 0
            return True
        self.in_a_row += 1
        self.skipped += 1
        if self.in_a_row >= self.max_skipped:
            raise DivergedError(
                f"{self.in_a_row} updates in a row had a loss or gradient that is not finite, up to step {step}",
                hint="lower optim.lr and optim.adamw_lr, or set optim.clip_norm=1; the last checkpoint is from before",
            )
        return False
