"""The memory's rule as the paper writes it, patch by patch, with gradients from autograd."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from neat.model.memory.terms import Rule, Weights, Writes


@dataclass
class Slow:
    """One memory: one row, one head. Chunks start at multiples of `chunk`, the first one `phase` patches ago."""

    first: Tensor
    second: Tensor
    chunk: int
    rule: Rule
    phase: int = 0

    def __post_init__(self) -> None:
        self.weights = [self.first, self.second]
        self.momenta = [torch.zeros_like(self.first), torch.zeros_like(self.second)]
        self.start = list(self.weights)
        self.keys: list[Tensor] = []
        self.surprises: list[float] = []

    def step(
        self, query: Tensor, key: Tensor, value: Tensor, log_keep: Tensor, log_eta: Tensor, rate: Tensor
    ) -> Tensor:
        """Writes one patch, then reads: [K] -> [K]."""
        if self.phase % self.chunk == 0:
            self.start, self.keys = list(self.weights), []
        gradients, error = self._gradients(key, value)
        surprise = float((error.norm() / value.norm()).detach())
        self.surprises.append(surprise)
        if surprise < self.rule.threshold:
            rate = rate * 0
        else:
            self.keys.append(key)
        if self.rule.gram:
            repeats = torch.stack([(key @ other) ** 2 for other in self.keys] or [torch.zeros(())]).sum()
            rate = rate / torch.clamp(repeats, min=1.0)
        for layer in (0, 1):
            gradient = gradients[layer]
            if self.rule.clip:
                gradient = gradient * torch.clamp(self.rule.clip / gradient.norm(), max=1.0)
            self.momenta[layer] = log_eta.exp() * self.momenta[layer] - rate * gradient
            self.weights[layer] = log_keep.exp() * self.weights[layer] + self.momenta[layer]
        self.phase += 1
        return F.silu(query @ self.weights[0]) @ self.weights[1]

    def _gradients(self, key: Tensor, value: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        first, second = self.start
        if not first.requires_grad:
            first, second = first.detach().requires_grad_(), second.detach().requires_grad_()
        with torch.enable_grad():
            error = F.silu(key @ first) @ second - value
            return torch.autograd.grad(error.square().sum(), (first, second), create_graph=True), error


def slow_row(fresh: Weights, writes: Writes, document: list[int], chunk: int, rule: Rule, phase: int = 0) -> Tensor:
    """Reads of one row [1, H, N, ..], head by head; every document begins with a fresh memory."""
    rows = []
    for head in range(writes.query.shape[1]):
        reads, memory, last = [], None, -2
        for i, number in enumerate(document):
            if memory is None or number != last:
                memory, last = Slow(fresh.first[head], fresh.second[head], chunk, rule, 0), number
                memory.phase = 0 if (phase + i) % chunk == 0 else (phase + i) % chunk
            reads.append(memory.step(*(tensor[0, head, i] for tensor in writes)))
        rows.append(torch.stack(reads))
    return torch.stack(rows)[None]


def random_writes(rows: int, heads: int, num: int, width: int, *, grad: bool = False) -> Writes:
    """Unit queries and keys, some keys repeated, and gates over their whole range, in float64."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64)

    key = F.normalize(normal(rows, heads, num, width), dim=-1)
    key[:, :, 2::3] = key[:, :, 1:-1:3][:, :, : key[:, :, 2::3].shape[2]]
    gates = [F.logsigmoid(normal(rows, heads, num) * 2) for _ in range(2)]
    writes = Writes(
        F.normalize(normal(rows, heads, num, width), dim=-1), key, normal(rows, heads, num, width),
        gates[0], gates[1], 0.4 * torch.rand(rows, heads, num, dtype=torch.float64),
    )  # fmt: skip
    return Writes(*(tensor.requires_grad_() for tensor in writes)) if grad else writes


def random_weights(heads: int, width: int, hidden: int) -> Weights:
    """Weights of a memory that has learned something."""
    return Weights(
        torch.randn(heads, width, hidden, dtype=torch.float64),
        0.5 * torch.randn(heads, hidden, width, dtype=torch.float64),
    )
