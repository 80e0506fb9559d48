"""How a memory learns: one gradient step per patch with momentum and forgetting, a chunk of patches at a time.

A memory is a network of two layers per head, `M(x) = silu(x W1) W2`. Every patch takes a step on `|M(k) - v|^2` and is
then answered (Titans, arXiv 2501.00663, eqs. 8-15, and 16-18 for chunks):

    S_t = momentum_t S_{t-1} - rate_t gradient_t        M_t = (1 - forgetting_t) M_{t-1} + S_t        y_t = M_t(q_t)

The gradients of a chunk are taken at the weights it began with, so S and M are linear in them and can be applied to a
query without being written out for any patch. The invariant: reads and final weights equal the recurrence patch by
patch, and the read of a patch depends on no later one. All sums of logarithms and all weights are float32 or finer.

B rows, H heads, N patches, C patches of one chunk, K head width, F hidden width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from neat.model.memory.terms import LOWEST_LOG, TINY, Chunk, Gradients, Learned, Place, Rule, Weights, Writes


class Flow(NamedTuple):
    """How the state before a chunk and the steps inside it reach each of its patches.

    Attributes:
        kept: Share of the weights before that is left, [B, H, C].
        momentum: Share of the momentum before that is left, [B, H, C].
        carried: What the momentum before has added to the weights, [B, H, C].
        effect: What the step of patch j has added to the weights at patch i, [B, H, C, C].
        moving: What the step of each patch has left of momentum after the last one, [B, H, C].
    """

    kept: Tensor
    momentum: Tensor
    carried: Tensor
    effect: Tensor
    moving: Tensor


def begin(weights: Weights, rows: int) -> Learned:
    """The state of `rows` memories that hold `weights` [H, ..] and no momentum."""
    stacked = (torch.cat((layer, torch.zeros_like(layer)), dim=1) for layer in weights)
    return Learned(*(layer.expand(rows, *layer.shape) for layer in stacked))


def places(document: Tensor, chunk: int) -> list[Place]:
    """Chunks of rows whose documents are `document` [B, N]; padding (-1) writes nothing.

    A document that begins inside a chunk begins with a fresh memory there.
    """
    before = torch.cat((document[:, :1], document[:, :-1]), dim=1)
    found = []
    for part, previous in zip(torch.split(document, chunk, 1), torch.split(before, chunk, 1), strict=True):
        same = part[:, :, None] == part[:, None, :]
        running = part == previous[:, :1]
        found.append(Place((part >= 0)[:, None], same.tril()[:, None], running[:, None]))
    return found


def learn_chunk(
    state: Learned,
    start: Weights,
    writes: Writes,
    place: Place,
    rule: Rule,
    *,
    fresh: Weights | None = None,
    gram: Tensor | None = None,
) -> Chunk:
    """Reads and writes the patches of one chunk, or some that follow each other in it.

    Args:
        state: Memory before the first of them.
        start: Memory at the start of the chunk, where gradients are taken.
        writes: C patches.
        place: Where they stand.
        rule: Bounds of the steps.
        fresh: Memory of documents that begin inside the chunk, [H, ..]; None where none does.
        gram: Sum of the outer products of the keys that this chunk has written before, [B, H, K, K].
    """
    if place.running is None:
        fresh = None
    taken = _gradients(_Base(start, fresh, place, rule), writes)
    rate = torch.where(taken.wrote, writes.rate, 0.0)
    if rule.gram:
        rate = rate / _repeats(writes.key, taken.wrote, place, gram).clamp(min=1.0)
    flow = _flow(writes, rate, place)
    base = _Base(state.weights, fresh, place, rule)
    return Chunk(_read(state, base, writes, taken, flow), _advance(state, base, writes, taken, flow), taken)


@dataclass(frozen=True, slots=True)
class _Base:
    """The weights that each patch of a chunk starts from: those of the running document, or fresh ones."""

    start: Weights
    fresh: Weights | None
    place: Place
    rule: Rule

    def times(self, x: Tensor, layer: int, *, back: bool = False) -> Tensor:
        """`x` times the weights of a layer, or times their transpose to go back."""
        running = self.rule.multiply(x, self.start[layer].mT if back else self.start[layer])
        if self.fresh is None:
            return running
        assert self.place.running is not None
        fresh = self.rule.multiply(x, self.fresh[layer].mT if back else self.fresh[layer])
        return torch.where(self.place.running[..., None], running, fresh)


def _gradients(base: _Base, writes: Writes) -> Gradients:
    """Of `|M(k) - v|^2` in both layers, the outer product of each patch scaled down to the clipping norm."""
    rule = base.rule
    z = base.times(writes.key, 0)
    gate = z.sigmoid()
    hidden = z * gate
    error = base.times(hidden, 1) - writes.value
    surprise = _norm(error) / _norm(writes.value).clamp(min=TINY)
    wrote = base.place.active.expand_as(surprise)
    if rule.threshold:
        wrote = wrote & (surprise >= rule.threshold)
    second = 2 * error
    first = base.times(second, 1, back=True) * (gate * (1 + z - hidden))
    if rule.clip:
        first = first * _shrink(_norm(writes.key) * _norm(first), rule.clip)[..., None]
        second = second * _shrink(_norm(hidden) * _norm(second), rule.clip)[..., None]
    return Gradients(hidden, first, second, surprise, wrote)


def _norm(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1)
    return norm


def _shrink(norm: Tensor, limit: float) -> Tensor:
    return limit / norm.clamp(min=limit)


def _repeats(key: Tensor, wrote: Tensor, place: Place, gram: Tensor | None) -> Tensor:
    """How much of each key the chunk has written up to it: the sum of (k_i . k_j)^2, [B, H, C].

    Equal keys of one chunk see the same gradient, so n of them would take a step n times too long.
    """
    alike = (key @ key.mT).square()
    repeats = torch.where(place.earlier & wrote[..., None, :], alike, 0.0).sum(-1)
    return repeats if gram is None else repeats + ((key @ gram) * key).sum(-1)


def _flow(writes: Writes, rate: Tensor, place: Place) -> Flow:
    """Products of the factors between any two patches, from differences of summed logarithms.

    An entry where nothing stands must not add the momentum to the weights a further time, so its column is left out.
    """
    active = place.active
    logs = (torch.where(active, log, 0.0) for log in (writes.log_keep, writes.log_momentum))
    log_keep, log_momentum = (log.clamp(min=LOWEST_LOG) for log in logs)
    # Sums within the document: what other documents hold must not even change the rounding.
    summed = place.earlier[:, 0].mT.to(log_keep.dtype)
    keep, momentum = log_keep @ summed, log_momentum @ summed
    kept = _between(keep, place.earlier & active[..., None, :])
    moved = _between(momentum, place.earlier)
    left, moving = keep.exp(), momentum.exp()
    if place.running is not None:
        moving = torch.where(place.running, moving, 0.0)
    carried = (kept @ moving[..., None])[..., 0]
    return Flow(left, moving, carried, (kept @ moved) * rate[..., None, :], moved[..., -1, :] * rate)


def _between(total: Tensor, allowed: Tensor) -> Tensor:
    """exp(total_i - total_j) where allowed, else 0; masked before `exp`, which would overflow elsewhere."""
    return (total[..., :, None] - total[..., None, :]).masked_fill(~allowed, -torch.inf).exp()


def _read(state: Learned, base: _Base, writes: Writes, taken: Gradients, flow: Flow) -> Tensor:
    """Answers each query with the weights after its own patch, [B, H, C, K]."""
    hidden = F.silu(_layer(writes.query, 0, state, base, writes.key, taken.first, flow))
    return _layer(hidden, 1, state, base, taken.hidden, taken.second, flow)


def _layer(x: Tensor, layer: int, state: Learned, base: _Base, left: Tensor, right: Tensor, flow: Flow) -> Tensor:
    """`x` through one layer as it is after each patch, whose own steps are the outer products left by right."""
    rule, kept = base.rule, flow.kept[..., None] * x
    before = rule.multiply(torch.cat((kept, flow.carried[..., None] * x), dim=-1), state[layer])
    if base.fresh is not None:
        assert base.place.running is not None
        before = torch.where(base.place.running[..., None], before, rule.multiply(kept, base.fresh[layer]))
    return before - rule.multiply(rule.multiply(x, left.mT) * flow.effect, right)


def _advance(state: Learned, base: _Base, writes: Writes, taken: Gradients, flow: Flow) -> Learned:
    """The memory after the last patch."""
    factors = torch.stack((flow.effect[..., -1, :], flow.moving), dim=-1)
    kept, carried, momentum = (factor[..., -1, None, None] for factor in (flow.kept, flow.carried, flow.momentum))
    advanced = []
    for layer, (left, right) in enumerate(((writes.key, taken.first), (taken.hidden, taken.second))):
        weights, moving = state[layer].chunk(2, dim=2)
        if base.fresh is not None:
            assert base.place.running is not None
            weights = torch.where(base.place.running[..., -1, None, None], weights, base.fresh[layer])
        steps = (factors[..., None] * left[..., None, :]).flatten(-2)
        before = torch.cat((kept * weights + carried * moving, momentum * moving), dim=2)
        advanced.append(before - base.rule.multiply(steps.mT, right))
    return Learned(*advanced)
