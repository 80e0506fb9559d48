"""Continuing a memory where its stream stopped, whatever the number of new patches in each row.

The grid of chunks starts at the beginning of the stream. New patches are laid out at the place in the chunk where
their row stands, so that chunks of all rows end together; places without a patch change nothing. One patch per row
needs no layout: that is the recurrence itself. The invariant: any division of a stream into calls gives the same reads.

B rows, H heads, N new patches, C patches per chunk, K head width, F hidden width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neat.model.cache import Cache
from neat.model.memory.rule import begin, learn_chunk
from neat.model.memory.terms import Learned, Place, Rule, Watch, Weights, Writes


def new_stream(weights: Weights, rows: int, *, gram: bool) -> Cache:
    """The state of `rows` streams that have not begun: weights and momentum, where gradients are taken, the place.

    Args:
        weights: What a memory holds before its first patch, [H, K, F] and [H, F, K].
        rows: B.
        gram: Whether repeated keys are counted.
    """
    state = begin(weights, rows)
    heads, width = weights.first.shape[:2]
    cache: Cache = {
        "first": state.first.contiguous(),
        "second": state.second.contiguous(),
        "start_first": state.weights.first.contiguous(),
        "start_second": state.weights.second.contiguous(),
        "phase": torch.zeros(rows, dtype=torch.int64, device=weights.first.device),
    }
    return cache | {"gram": weights.first.new_zeros(rows, heads, width, width)} if gram else cache


def resume(cache: Cache, writes: Writes, count: Tensor, chunk: int, rule: Rule, watch: Watch | None = None) -> Tensor:
    """Reads and writes the next patches of each row, and moves `cache` behind them.

    Args:
        cache: From `new_stream`; its tensors are replaced, never changed.
        writes: N patches; in each row the first `count` are real.
        count: New patches of each row, [B].
        chunk: C.
        rule: Bounds of the steps.
        watch: Called with every chunk.

    Returns:
        Reads, [B, H, N, K]; those of patches that are not real mean nothing.
    """
    num = writes.query.shape[2]
    if num == 1:
        return _resume(cache, writes, count[:, None] > 0, count, chunk, rule, watch)
    length = -(-(chunk - 1 + num) // chunk) * chunk
    source = torch.arange(length, device=count.device) - cache["phase"][:, None]
    active = (source >= 0) & (source < count[:, None])
    laid = Writes(*(_pick(tensor, source.clamp(0, num - 1), active) for tensor in writes))
    target = torch.arange(num, device=count.device) + cache["phase"][:, None]
    return _pick(_resume(cache, laid, active, count, chunk, rule, watch), target)


def _pick(x: Tensor, index: Tensor, active: Tensor | None = None) -> Tensor:
    """`x[b, :, index[b, i]]` for [B, H, N] or [B, H, N, K], and zero where not active."""
    shape = (x.shape[0], 1, -1) + (1,) * (x.dim() - 3)
    picked = x.gather(2, index.view(shape).expand(-1, x.shape[1], -1, *x.shape[3:]))
    return picked if active is None else torch.where(active.view(shape), picked, 0.0)


def _resume(
    cache: Cache, writes: Writes, active: Tensor, count: Tensor, chunk: int, rule: Rule, watch: Watch | None
) -> Tensor:
    """The same for patches that are laid out by chunks, or for a single one; `active` is [B, N]."""
    state = Learned(cache["first"], cache["second"])
    start = Weights(cache["start_first"], cache["start_second"])
    gram, end = cache.get("gram"), cache["phase"] + count
    reads = []
    for index, part in enumerate(writes.split(chunk)):
        size = part.query.shape[2]
        real = active[:, None, index * chunk : index * chunk + size]
        earlier = torch.ones(1, 1, size, size, dtype=torch.bool, device=real.device).tril()
        place = Place(real, earlier)
        learned = learn_chunk(state, start, part, place, rule, gram=gram)
        reads.append(learned.reads)
        state = learned.state
        # A row whose chunk is not full yet goes on from the start of it next time.
        full = ((index + 1) * chunk <= end).view(-1, 1, 1, 1)
        start = Weights(*(torch.where(full, now, then) for now, then in zip(state.weights, start, strict=True)))
        if gram is not None:
            key = torch.where(learned.taken.wrote[..., None], part.key, 0.0)
            gram = torch.where(full, 0.0, gram + key.mT @ key)
            cache["gram"] = gram
        if watch is not None:
            watch(place, part, learned)
    cache["first"], cache["second"] = state
    cache["start_first"], cache["start_second"] = start
    cache["phase"] = end % chunk
    return torch.cat(reads, dim=2)
