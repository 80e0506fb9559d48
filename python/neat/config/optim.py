"""Settings of the optimiser and its schedule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from neat.config.base import Breach, Section

KINDS = ("embedding", "local", "attention", "feed_forward", "memory", "experts", "vision", "head", "vectors")
"""Kinds of parameters, by the part of the network they belong to; in the order of every table."""


class Optim(Section):
    """Three groups of parameters: hidden matrices, everything else, and the rows of the hash tables."""

    name: Literal["muon", "adamw"] = "muon"
    """Optimiser of the hidden matrices. All other parameters use AdamW either way."""
    lr: float = Field(default=1e-2, gt=0.0, le=10.0)
    """Peak learning rate of the hidden matrices (up to 10)."""
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Muon's momentum (0 to below 1)."""
    momentum_warmup_share: float = Field(default=0.1, ge=0.0, le=1.0)
    """Share of the steps over which momentum rises from 0.85 to its value (0 to 1; 0: at once)."""
    nesterov: bool = True
    """Muon looks one step ahead along its momentum."""
    newton_schulz_steps: int = Field(default=5, ge=1, le=20)
    """Iterations of Muon's orthogonalisation (1 to 20)."""
    weight_decay: float = Field(default=0.1, ge=0.0, le=10.0)
    """Decoupled weight decay of the hidden matrices (0 to 10); norms, biases and embeddings have none."""
    adamw_lr: float = Field(default=5e-3, gt=0.0, le=10.0)
    """Peak learning rate of all parameters that are neither hidden matrices nor hash tables (up to 10)."""
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    """AdamW's decay of the gradient mean (0 to below 1)."""
    beta2: float = Field(default=0.95, ge=0.0, lt=1.0)
    """AdamW's decay of the squared gradient (0 to below 1)."""
    eps: float = Field(default=1e-8, gt=0.0, le=1.0)
    """AdamW's guard against division by zero (up to 1)."""
    hash_lr: float = Field(default=5e-3, gt=0.0, le=10.0)
    """Peak learning rate of the hash tables, whose rows are updated only when used (up to 10)."""
    clip_norm: float = Field(default=0.0, ge=0.0, le=1e6)
    """Largest gradient norm over all parameters but the hash tables (0 to 1e6; 0: no clipping)."""
    ema_decay: float = Field(default=0.997, ge=0.0, lt=1.0)
    """Decay per update of the averaged weights that are evaluated and exported (0 to below 1; 0: no average)."""
    ema_every: int = Field(default=1, ge=1, le=10_000)
    """Steps between updates of the averaged weights (1 to 10000)."""
    schedule: Literal["wsd", "cosine", "constant"] = "wsd"
    """Learning rate after the warm-up: wsd holds it, then decays linearly; cosine decays all along; constant holds."""
    warmup_share: float = Field(default=0.07, ge=0.0, le=1.0)
    """Share of the steps over which learning rates rise from 0 (0 to 1)."""
    decay_share: float = Field(default=0.4, ge=0.0, le=1.0)
    """Share of the steps, at the end, over which wsd decays (0 to 1)."""
    min_lr_ratio: float = Field(default=0.0, ge=0.0, le=1.0)
    """Learning rate at the end of the schedule as a share of its peak (0 to 1)."""

    def breaches(self) -> Iterator[Breach]:
        """Warm-up and decay do not overlap."""
        if self.schedule == "wsd" and self.warmup_share + self.decay_share > 1.0:
            total = self.warmup_share + self.decay_share
            yield Breach("decay_share", f"and optim.warmup_share add up to {total:g} of the run", "1 is the most")
