"""Whole rows, chunk by chunk: what every path of training and of reading at once goes through.

B rows, H heads, N patches, K head width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from neat.model.memory.chunk import fast_chunk
from neat.model.memory.rule import learn_chunk
from neat.model.memory.terms import Chunk, Learned, Place, Rule, Watch, Weights, Writes


def learn(
    state: Learned, fresh: Weights, writes: Writes, where: Sequence[Place], rule: Rule, watch: Watch | None = None
) -> Tensor:
    """Reads and writes whole rows, chunk by chunk; returns the reads, [B, H, N, K], each after the patch's own write.

    Args:
        state: Memory of the document that runs into the row.
        fresh: Memory that every other document begins with, [H, ..].
        writes: N patches.
        where: Their chunks.
        rule: Bounds of the steps.
        watch: Called with every chunk.
    """
    reads = []
    for part, place in zip(writes.split(where[0].active.shape[-1]), where, strict=True):
        if rule.recompute and torch.is_grad_enabled():
            learned = _again(state, fresh, part, place, rule)
        else:
            learned = _whole_chunk(state, fresh, part, place, rule)
        state = learned.state
        reads.append(learned.reads)
        if watch is not None:
            watch(place, part, learned)
    return torch.cat(reads, dim=2)


def _again(state: Learned, fresh: Weights, writes: Writes, place: Place, rule: Rule) -> Chunk:
    def chunk(state: Learned, writes: Writes) -> Chunk:
        return _whole_chunk(state, fresh, writes, place, rule)

    # Nothing random happens inside, so no generator need be restored.
    learned: Chunk = checkpoint(chunk, state, writes, use_reentrant=False, preserve_rng_state=False)
    return learned


def _whole_chunk(state: Learned, fresh: Weights, writes: Writes, place: Place, rule: Rule) -> Chunk:
    """A chunk from its beginning; a compiled graph and accelerators, which fuse by themselves, go by `learn_chunk`."""
    if writes.rate.device.type == "cpu" and not torch.compiler.is_compiling():
        return fast_chunk(state, fresh, writes, place, rule)
    return learn_chunk(state, state.weights, writes, place, rule, fresh=fresh)
