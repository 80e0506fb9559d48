"""Averages of the weights, read for evaluation and export: a moving one, and the one that an optimizer keeps itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from neat.optim.averaging import AveragedAdamW


class Average(ABC):
    """What is evaluated, sampled from and exported in the place of the weights being trained.

    Attributes:
        updates: Updates behind it; 0 while it means nothing yet.
    """

    updates: int

    @abstractmethod
    def update(self, step: int) -> None:
        """Takes the weights after update number `step` into the average."""

    @abstractmethod
    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model holds the averaged weights inside the block and its own again, bit for bit, after it."""
        yield

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """The averaged weights by parameter name."""


class WeightAverage(Average):
    """`E <- E + (1 - d^k)(w - E)` once every k steps, with d = min(decay, t / (t + 10)) after t averaged steps.

    The rising d keeps the horizon shorter than the run: early weights do not linger in the average of a short one.

    Args:
        model: The model whose parameters are averaged.
        decay: Decay per step, in (0, 1).
        every: k, steps between updates; a rarer update of the same horizon costs less memory traffic.
    """

    def __init__(self, model: nn.Module, decay: float, every: int) -> None:
        self.decay, self.every = decay, every
        self._names = [name for name, _ in model.named_parameters()]
        self._live = [parameter.detach() for parameter in model.parameters()]
        self._average = [parameter.clone() for parameter in self._live]
        self.updates = 0

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes the weights after update number `step` into the average."""
        if step % self.every:
            return
        averaged = self.updates * self.every
        share = 1 - min(self.decay, averaged / (averaged + 10)) ** self.every
        torch._foreach_lerp_(self._average, self._live, share)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model holds the averaged weights inside the block and its own again after it."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, Tensor]:
        """The averaged weights by parameter name; the tensors are the live ones."""
        return dict(zip(self._names, self._average, strict=True))

    @torch.no_grad()
    def _swap(self) -> None:
        for live, average in zip(self._live, self._average, strict=True):
            kept = live.clone()
            live.copy_(average)
            average.copy_(kept)


class OwnAverage(Average):
    """The point x of `AveragedAdamW`; parameters of other optimizers as they are.

    It is a function of the weights and the optimizer's state at any moment, so there is nothing to update or to load.

    Args:
        model: The model that is trained.
        optimizer: Its optimizer.
    """

    def __init__(self, model: nn.Module, optimizer: AveragedAdamW) -> None:
        self._optimizer = optimizer
        self._live = {name: parameter.detach() for name, parameter in model.named_parameters()}
        self.updates = 1

    def update(self, step: int) -> None:
        """Nothing: the optimizer has done it."""

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model holds x inside the block and y again, bit for bit, after it."""
        average = self._optimizer.average()
        kept = {name: self._live[name].clone() for name in average}
        self._copy(average)
        try:
            yield
        finally:
            self._copy(kept)

    def state(self) -> dict[str, Tensor]:
        """The point x by parameter name, computed for the moment."""
        return self._live | self._optimizer.average()

    @torch.no_grad()
    def _copy(self, weights: dict[str, Tensor]) -> None:
        for name, tensor in weights.items():
            self._live[name].copy_(tensor)
