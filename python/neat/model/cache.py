"""What a stream keeps of what it has read: nested dictionaries of tensors, one row of every tensor per stream.

The invariant: a tensor in a cache is replaced, never written to. Two caches may therefore share tensors, and a copy
of a cache is a copy of its dictionaries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Cache = dict[str, Any]
"""Name -> tensor with rows first, or a cache of a part."""


def part(cache: Cache | None, name: str) -> Cache | None:
    """The cache of a part, if there is a cache."""
    return None if cache is None else cache[name]


def num_valid(document: Tensor) -> Tensor:
    """New entries of each row: those of `document` [B, N] that are not negative, which come first. int64 [B]."""
    return (document >= 0).sum(1)


def keep_last(old: Tensor, new: Tensor, count: Tensor) -> Tensor:
    """The last R entries of each row after `count` of the new ones have followed the old ones.

    Args:
        old: [B, R, ...].
        new: [B, N, ...]; entries from `count` on are ignored.
        count: New entries of each row, [B].

    Returns:
        [B, R, ...] in the type of `old`; a row without new entries is `old` bit for bit.
    """
    return take(torch.cat((old, new.to(old.dtype)), dim=1), last_places(count, old.shape[1]))


def last_places(count: Tensor, kept: int) -> Tensor:
    """Where the last `kept` entries of each row stand among `kept` old and `count` new ones, int64 [B, kept]."""
    return count[:, None] + torch.arange(kept, device=count.device)


def take(x: Tensor, places: Tensor) -> Tensor:
    """`x[b, places[b, i]]`: [B, R, ...] by [B, I] -> [B, I, ...]."""
    return x[torch.arange(x.shape[0], device=x.device)[:, None], places]


def leaves(cache: Cache, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """All tensors with their dotted names, in order."""
    for name, value in cache.items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        else:
            yield from leaves(value, f"{prefix}{name}.")


def map_leaves(change: Callable[[Tensor], Tensor], cache: Cache) -> Cache:
    """A cache of the changed tensors."""
    return {
        name: change(value) if isinstance(value, Tensor) else map_leaves(change, value) for name, value in cache.items()
    }


def fork(cache: Cache) -> Cache:
    """A copy that reads on by itself; the tensors are shared until one of the two replaces them."""
    return map_leaves(lambda leaf: leaf, cache)


def select(cache: Cache, rows: Tensor) -> Cache:
    """A cache of the rows `rows` (int64 [R], on the cache's device), in that order, repeats allowed."""
    return map_leaves(lambda leaf: leaf.index_select(0, rows), cache)


def put(cache: Cache, rows: Tensor, other: Cache) -> Cache:
    """A copy of `cache` whose rows `rows` are those of `other`."""
    return {
        name: value.index_copy(0, rows, other[name]) if isinstance(value, Tensor) else put(value, rows, other[name])
        for name, value in cache.items()
    }
