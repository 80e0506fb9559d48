"""What a memory did to one batch, as means over real patches and heads; computed only while someone listens."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from neat.model.memory.terms import Chunk, Place, Writes

Probe = Callable[[str, Tensor], None]


class Meter:
    """Sums over chunks.

    Reports `memory/surprise` (prediction error relative to the value), `memory/update_rate` (share of patches that
    wrote), `memory/forgetting`, `memory/momentum`, `memory/rate` (inner learning rate) and `memory/norm` (of the
    weights at the ends of chunks).
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, place: Place, writes: Writes, learned: Chunk) -> None:
        """Takes in one chunk."""
        taken = learned.taken
        self._add("surprise", taken.surprise, place.active)
        self._add("update_rate", taken.wrote.to(taken.surprise), place.active)
        self._add("forgetting", -torch.expm1(writes.log_keep), place.active)
        self._add("momentum", writes.log_momentum.exp(), place.active)
        self._add("rate", writes.rate, place.active)
        squares = [layer.square().sum((-2, -1)) for layer in learned.state.weights]
        self._add("norm", (squares[0] + squares[1]).sqrt(), place.active[..., -1])

    def report(self, probe: Probe) -> None:
        """Tells the means; nothing is moved off the device."""
        for name, total in self.sums.items():
            probe(f"memory/{name}", total / self.counts[name].clamp(min=1))

    def _add(self, name: str, value: Tensor, active: Tensor) -> None:
        active = active.expand_as(value)
        total, count = torch.where(active, value, 0.0).sum(), active.sum()
        self.sums[name] = self.sums[name] + total if name in self.sums else total
        self.counts[name] = self.counts[name] + count if name in self.counts else count


@torch.no_grad()
def report_gate(gate: Tensor, active: Tensor, probe: Probe) -> None:
    """Tells `memory/gate`, the mean share [B, N, D] of the reads that is let through, and `memory/gate_entropy`.

    The entropy is that of a coin with this share, in bits: 0 where all gates are shut or open, 1 where all stand at a
    half.
    """
    share = gate.float()
    shut = 1 - share
    entropy = -(torch.xlogy(share, share) + torch.xlogy(shut, shut)) / math.log(2)
    count = active.sum().clamp(min=1)
    for name, value in (("gate", share), ("gate_entropy", entropy)):
        probe(f"memory/{name}", torch.where(active, value.mean(-1), 0.0).sum() / count)
