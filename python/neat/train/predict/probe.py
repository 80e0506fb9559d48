"""Forward passes over training batches that are held back from training.

Batches come from the run's own stream and are never trained on. A checkpoint keeps the state of the stream at which
they were drawn, not the batches.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from neat.model.batch import Batch, micro_batches
from neat.model.losses import objective
from neat.train.predict.ledger import FORWARD_SHARE
from neat.train.state import Draw, Trainer


class Probe:
    """The held-back batches of one window.

    Args:
        count: Batches to hold back.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._batches: list[tuple[Batch, int]] = []
        self._drawn: Draw | None = None

    def prepare(self, trainer: Trainer) -> None:
        """Holds batches back, anew where the shape of the rows has changed."""
        settings = trainer.config.train
        shape = trainer.draw_shape()
        rows = shape.rows
        if settings.micro_batch_bytes:
            rows = min(rows, max(1, settings.micro_batch_bytes // shape.window))
        if self._drawn is not None and self._drawn[1:4] == shape[1:4]:
            return
        self._drawn = shape._replace(rows=rows, state=trainer.stream.state())
        self._batches = [trainer.draw(self._drawn) for _ in range(self.count)]

    def losses(self, trainer: Trainer) -> list[float]:
        """Loss of each batch at the weights that the model holds, nats per byte; waits for the device."""
        return losses_on(trainer, self._batches)

    def cost(self, trainer: Trainer) -> float:
        """Cost of one call of `losses`, in steps."""
        if self._drawn is None:
            return 0.0
        return FORWARD_SHARE * self.count * self._drawn.rows * self._drawn.window / trainer.config.train.batch_bytes

    def state(self) -> dict[str, Any] | None:
        """What draws the same batches again; None before the first ones."""
        return self._drawn._asdict() if self._drawn is not None else None

    def load(self, trainer: Trainer, saved: dict[str, Any] | None) -> None:
        """Draws the batches of a checkpoint again, from a stream of their own."""
        self._batches, self._drawn = [], None
        if saved is None:
            return
        self._drawn = Draw(**saved)
        own = trainer.stream
        trainer.stream = trainer.text.stream(trainer.config, self._drawn.state)
        try:
            self._batches = [trainer.draw(self._drawn) for _ in range(self.count)]
        finally:
            trainer.stream.close()
            trainer.stream = own


@torch.no_grad()
def losses_on(trainer: Trainer, batches: Iterable[tuple[Batch, int]]) -> list[float]:
    """Mean loss of each (batch, scored positions) at the weights that the model holds, nats per byte.

    One forward pass a micro-batch, and one wait for the device at the end.
    """
    found: list[Tensor] = []
    for batch, scored in batches:
        total = torch.zeros((), device=trainer.placement.device)
        for some in micro_batches(batch, trainer.config.train.micro_batch_bytes):
            with trainer.placement.autocast():
                outputs = trainer.model.outputs(some)
            total += objective(outputs, some, trainer.config)[1]["byte"]
        found.append(total / max(1, scored))
    return [float(value) for value in torch.stack(found).tolist()]


def paired(first: list[float], second: list[float]) -> tuple[float, float]:
    """Mean of `first - second` over the same batches, and its standard error (0 for one batch)."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    mean = sum(differences) / len(differences)
    if len(differences) == 1:
        return mean, 0.0
    variance = sum((value - mean) ** 2 for value in differences) / (len(differences) - 1)
    return mean, (variance / len(differences)) ** 0.5
