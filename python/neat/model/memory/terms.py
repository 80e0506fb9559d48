"""The words of the learning rule: what patches ask of a memory, where they stand, what it holds, what bounds a step.

B rows, H heads, N patches, C patches of one chunk, K head width, F hidden width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

LOWEST_LOG = -30.0
"""Logarithm below which a factor counts as zero; infinite ones would make differences undefined."""
TINY = 1e-6
"""Length below which a value counts as this long where surprise is measured."""


class Weights(NamedTuple):
    """The two layers of a memory: [B, H, K, F] and [B, H, F, K], or the same without B."""

    first: Tensor
    second: Tensor


class Writes(NamedTuple):
    """What patches ask of the memory.

    Attributes:
        query: Unit vectors to answer, [B, H, N, K].
        key: Unit vectors to learn, [B, H, N, K].
        value: What to answer to the keys, [B, H, N, K].
        log_keep: Logarithm of 1 - forgetting, [B, H, N].
        log_momentum: [B, H, N].
        rate: Inner learning rate, [B, H, N].
    """

    query: Tensor
    key: Tensor
    value: Tensor
    log_keep: Tensor
    log_momentum: Tensor
    rate: Tensor

    def split(self, chunk: int) -> list[Writes]:
        """Consecutive parts of `chunk` patches, the last one shorter where it must be."""
        return [Writes(*parts) for parts in zip(*(torch.split(tensor, chunk, dim=2) for tensor in self), strict=True)]


class Place(NamedTuple):
    """Where the patches of one chunk stand.

    Attributes:
        active: False where nothing stands: such an entry changes no weight, [B, 1, C].
        earlier: Patch j is i itself or an earlier one of its document, [B, 1, C, C] or [1, 1, C, C].
        running: Patch belongs to the document whose memory is passed in, [B, 1, C]; None: all do.
    """

    active: Tensor
    earlier: Tensor
    running: Tensor | None = None


class Learned(NamedTuple):
    """The state of a memory between two chunks.

    Attributes:
        first: W1 above S1, [B, H, 2K, F].
        second: W2 above S2, [B, H, 2F, K].
    """

    first: Tensor
    second: Tensor

    @property
    def weights(self) -> Weights:
        """W1 and W2."""
        return Weights(*(stacked[:, :, : stacked.shape[2] // 2] for stacked in self))


@dataclass(frozen=True, slots=True)
class Rule:
    """What bounds a step.

    Attributes:
        clip: Largest norm of the gradient of one patch, per layer; 0: no limit.
        gram: Divide the rate by how often the key was written in this chunk already.
        threshold: Patches with less surprise write nothing; 0: all write.
        product: Type of the matrix products; weights and sums keep their own.
        recompute: Keep only the state between chunks for the backward pass, and compute each chunk again there.
    """

    clip: float
    gram: bool
    threshold: float
    product: torch.dtype
    recompute: bool = False

    def multiply(self, left: Tensor, right: Tensor) -> Tensor:
        """A matrix product in the `product` type, returned in the type of `left`."""
        if left.dtype == self.product:
            return left @ right
        return (left.to(self.product) @ right.to(self.product)).to(left.dtype)


class Gradients(NamedTuple):
    """The step of each patch before its rate, as two outer products: key by `first` and `hidden` by `second`.

    Attributes:
        hidden: Activations at the key, [B, H, C, F].
        first: Gradient at the input of the activation, [B, H, C, F].
        second: Gradient at the output, [B, H, C, K].
        surprise: |M(k) - v| / |v| at the start of the chunk: 1 for an empty memory, 0 for what is known, [B, H, C].
        wrote: Whether the patch is written, [B, H, C].
    """

    hidden: Tensor
    first: Tensor
    second: Tensor
    surprise: Tensor
    wrote: Tensor


class Chunk(NamedTuple):
    """What the patches of a chunk read, [B, H, C, K], the memory after them, and their steps."""

    reads: Tensor
    state: Learned
    taken: Gradients


Watch = Callable[[Place, Writes, Chunk], None]
