"""Settings of the optimiser and its schedule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from neat.config.base import Breach, Factors, Section, suggest

KINDS = ("embedding", "local", "attention", "feed_forward", "memory", "experts", "vision", "head", "vectors")
"""Kinds of parameters, by the part of the network they belong to; in the order of every table."""

GROUPS = {"latent": ("attention", "feed_forward", "vectors")}
"""Names that stand for several kinds."""

AVERAGING = ("schedule_free", "gpa")
"""Optimisers that evaluate an average of their own."""


class Optim(Section):
    """Groups of parameters: hidden matrices, embeddings, head, vectors, and the rows of the hash tables."""

    name: Literal["muon", "mugrokfast", "adamw", "schedule_free", "gpa"] = "muon"
    """Optimiser of the hidden matrices. muon and mugrokfast (Muon behind the Grokfast filter) leave all other dense
    parameters to AdamW; adamw, schedule_free and gpa take them all. docs/optimizers.md has the formulas."""
    lr: float = Field(default=1e-2, gt=0.0, le=10.0)
    """Peak learning rate of the hidden matrices (up to 10)."""
    momentum: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Muon's momentum (0 to below 1)."""
    momentum_start: float = Field(default=0.85, ge=0.0, lt=1.0)
    """Muon's momentum at the first step of its warm-up (0 to below 1); one above optim.momentum counts as that."""
    momentum_warmup_share: float = Field(default=0.1, ge=0.0, le=1.0)
    """Share of the steps over which momentum rises from optim.momentum_start to its value (0 to 1; 0: at once)."""
    nesterov: bool = True
    """Muon looks one step ahead along its momentum."""
    newton_schulz_steps: int = Field(default=5, ge=1, le=20)
    """Iterations of Muon's orthogonalisation (1 to 20)."""
    weight_decay: float = Field(default=0.1, ge=0.0, le=10.0)
    """Decoupled weight decay of the hidden matrices (0 to 10); norms, biases and embeddings have none."""
    adamw_lr: float = Field(default=5e-3, gt=0.0, le=10.0)
    """Peak learning rate of all parameters that are neither hidden matrices nor hash tables (up to 10)."""
    embedding_lr: float = Field(default=0.0, ge=0.0, le=10.0)
    """Peak learning rate of the dense embeddings (up to 10; 0: optim.adamw_lr)."""
    head_lr: float = Field(default=0.0, ge=0.0, le=10.0)
    """Peak learning rate of the output heads (up to 10; 0: optim.adamw_lr)."""
    lr_scale: Factors = ()
    """Factors (0 to 100) on the learning rates of parts of the network, hash tables included: pairs such as
    [["memory", 0.5]]. Parts: embedding, local, attention, feed_forward, vectors, memory, experts, vision, head, and
    latent for attention, feed_forward and vectors together."""
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    """AdamW's decay of the gradient mean (0 to below 1); schedule_free interpolates with it, gpa has none."""
    beta2: float = Field(default=0.95, ge=0.0, lt=1.0)
    """AdamW's decay of the squared gradient (0 to below 1)."""
    eps: float = Field(default=1e-8, gt=0.0, le=1.0)
    """AdamW's guard against division by zero (up to 1)."""
    hash_lr: float = Field(default=5e-3, gt=0.0, le=10.0)
    """Peak learning rate of the hash tables, whose rows are updated only when used (up to 10)."""
    gpa_mu_x: float = Field(default=0.9, ge=0.0, lt=1.0)
    """Weight of the past in the average that gpa evaluates (0 to below 1)."""
    gpa_mu_y: float = Field(default=0.8, gt=0.0, le=1.0)
    """Weight of the average in the point where gpa takes gradients (above 0 to 1)."""
    grokfast_lambda: float = Field(default=0.0, ge=0.0, le=100.0)
    """Weight of the slow mean that the Grokfast filter adds to every dense gradient (0 to 100; 0: no filter)."""
    grokfast_alpha: float = Field(default=0.98, ge=0.0, lt=1.0)
    """Decay per update of the Grokfast filter's mean of the gradients (0 to below 1)."""
    outer: Literal["off", "snoo"] = "off"
    """An optimiser around the optimiser: snoo takes a Nesterov step along what several updates moved."""
    outer_every: int = Field(default=20, ge=1, le=1_000_000)
    """Updates between outer steps (1 to 1000000)."""
    outer_lr: float = Field(default=0.7, gt=0.0, le=10.0)
    """Learning rate of the outer step (up to 10); 1 without momentum changes nothing."""
    outer_momentum: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Nesterov momentum of the outer step (0 to below 1)."""
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

    @property
    def averages_itself(self) -> bool:
        """Whether the optimiser evaluates an average of its own, so that `ema_decay` has no place."""
        return self.name in AVERAGING

    def lr_factor(self, kind: str) -> float:
        """Factor on the learning rates of parameters of `kind`."""
        return next((factor for name, factor in self.lr_scale if kind in GROUPS.get(name, (name,))), 1.0)

    def breaches(self) -> Iterator[Breach]:
        """Warm-up and decay do not overlap; no two settings answer the same question."""
        if self.schedule == "wsd" and self.warmup_share + self.decay_share > 1.0:
            total = self.warmup_share + self.decay_share
            yield Breach("decay_share", f"and optim.warmup_share add up to {total:g} of the run", "1 is the most")
        yield from self._factor_breaches()
        yield from self._filter_breaches()
        if self.averages_itself:
            yield from self._averaging_breaches()

    def _factor_breaches(self) -> Iterator[Breach]:
        known, taken = [*KINDS, *GROUPS], set[str]()
        for name, factor in self.lr_scale:
            if name not in known:
                near = suggest(name, known)
                yield Breach("lr_scale", f"names {name}, which is no part of the network",
                             f"did you mean {near}?" if near else "parts: " + ", ".join(known))  # fmt: skip
                continue
            if not 0.0 <= factor <= 100.0:
                yield Breach("lr_scale", f"has {factor:g} for {name}", "factors lie between 0 and 100")
            kinds = set(GROUPS.get(name, (name,)))
            if kinds & taken:
                yield Breach("lr_scale", f"says twice what {', '.join(sorted(kinds & taken))} is scaled by")
            taken |= kinds

    def _filter_breaches(self) -> Iterator[Breach]:
        if self.name == "mugrokfast" and not self.grokfast_lambda:
            yield Breach(
                "grokfast_lambda",
                'is 0; optim.name="mugrokfast" is Muon behind that filter',
                "set optim.grokfast_lambda=0.02, or optim.name=muon",
            )
        if self.name == "muon" and self.grokfast_lambda:
            yield Breach("grokfast_lambda", "makes Muon MuGrokfast", "set optim.name=mugrokfast")

    def _averaging_breaches(self) -> Iterator[Breach]:
        name = f'optim.name="{self.name}"'
        if self.ema_decay:
            yield Breach("ema_decay", f"is set, but {name} evaluates its own average", "set optim.ema_decay=0")
        if self.outer != "off":
            yield Breach("outer", f'is "{self.outer}", but {name} averages every step itself', 'set optim.outer="off"')
        if self.grokfast_lambda:
            yield Breach("grokfast_lambda", f"does not go with {name}", "set optim.grokfast_lambda=0")
        if self.name == "schedule_free" and self.schedule != "constant":
            yield Breach(
                "schedule",
                f'is "{self.schedule}", but {name} needs no decay',
                'set optim.schedule="constant"; optim.warmup_share still counts',
            )
        if self.name == "schedule_free" and not self.beta1:
            yield Breach("beta1", f"is 0, but {name} interpolates with it", "set optim.beta1=0.9")
