"""Settings of the memory that learns while it reads (Titans)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from neat.config.base import Breach, Integers, Section


class Memory(Section):
    """A small network per head whose weights are updated by every patch, in some layers of the latent transformer."""

    variant: Literal["off", "mag", "mac", "mal", "lmm"] = "off"
    """How memory and attention meet: off; mag beside attention; mac as context of attention; mal before attention;
    lmm in its place."""
    layers: Integers = ()
    """Latent layers with a memory, counted from 1. Empty: every second one."""
    heads: int = Field(default=4, ge=1, le=512)
    """Memories per layer (1 to 512); divides network.width."""
    hidden: int = Field(default=128, ge=1, le=16_384)
    """Hidden width of each memory (1 to 16384)."""
    chunk: int = Field(default=32, ge=1, le=4096)
    """Patches whose updates are computed from the same weights (1 to 4096)."""
    conv_taps: int = Field(default=4, ge=1, le=64)
    """Patches seen by the short convolution on queries, keys and values, the current one included (1 to 64)."""
    max_rate: float = Field(default=0.3, gt=0.0, le=10.0)
    """Largest inner learning rate, momentum included (up to 10)."""
    clip: float = Field(default=1.0, ge=0.0, le=1e6)
    """Largest norm of the update by one patch (0 to 1e6; 0: no limit)."""
    gram: bool = True
    """Shrink the updates of keys that repeat within a chunk."""
    surprise_threshold: float = Field(default=0.0, ge=0.0, le=1e6)
    """Patches with a surprise below this write nothing (0 to 1e6; 0: all write). Surprise is the error of the memory
    over the length of what it should answer: about 1 at first, 0 for what it knows."""
    recompute: bool = False
    """Keep less for the backward pass and compute what a memory did again there: less space, a third more time for
    memories."""
    persistent: int = Field(default=0, ge=0, le=4096)
    """Learned key-value pairs that every latent position attends to, in each layer (0 to 4096)."""

    @property
    def on(self) -> bool:
        """Whether there are memories."""
        return self.variant != "off"

    def layer_indices(self, layers: int) -> frozenset[int]:
        """The layers with a memory, counted from 0, in a stack of `layers`."""
        if not self.on:
            return frozenset()
        return frozenset(layer - 1 for layer in self.layers) or frozenset(range(1 if layers > 1 else 0, layers, 2))

    def breaches(self) -> Iterator[Breach]:
        """Layers are counted from 1 and named once."""
        if any(layer < 1 for layer in self.layers):
            yield Breach("layers", "has a layer below 1", "layers are counted from 1")
        if len(set(self.layers)) != len(self.layers):
            yield Breach("layers", "names a layer twice")
