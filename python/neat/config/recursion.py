"""Settings of recursion: the latent transformer applied several times, and when a position stops."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from neat.config.base import Breach, Floats, Section


class Recursion(Section):
    """How often the latent transformer runs over its own output, and the halting of single positions."""

    depth: int = Field(default=1, ge=1, le=64)
    """Times that the latent transformer is applied (1 to 64)."""
    micro_steps: int = Field(default=1, ge=1, le=64)
    """Passes through the layers within one application (1 to 64)."""
    supervision: Floats = ()
    """Weights of the loss after each application but the last, relative to the last one's 1. Empty: the last counts
    alone."""
    halting: bool = False
    """Let a position stop early when its prediction is likely right. Wants recursion.supervision: where early
    predictions are not trained, they are not right, and nothing stops."""
    halt_threshold: float = Field(default=0.5, gt=0.0, lt=1.0)
    """Probability of being right at which a position stops (0 to 1, both excluded)."""
    min_depth: int = Field(default=1, ge=1, le=64)
    """Applications that every position gets (1 to 64)."""
    halt_weight: float = Field(default=0.5, ge=0.0, le=1e3)
    """Weight of the halting loss (0 to 1000)."""
    ponder_weight: float = Field(default=0.0, ge=0.0, le=1e3)
    """Price of each further application (0 to 1000)."""
    diversity_weight: float = Field(default=0.0, ge=0.0, le=1e3)
    """Weight of the loss that keeps halting probabilities apart (0 to 1000)."""
    diversity_target: float = Field(default=0.05, ge=0.0, le=0.25)
    """Variance of the halting probabilities below which that loss acts (0 to 0.25)."""
    calibration_decay: float = Field(default=0.99, ge=0.0, lt=1.0)
    """Decay per step of the running means that calibrate the halting probabilities (0 to below 1; 0: not
    calibrated)."""

    @property
    def decoded(self) -> tuple[int, ...]:
        """Applications but the last, counted from 0, whose predictions a loss is made of."""
        if self.halting:
            return tuple(range(self.depth - 1))
        return tuple(index for index, weight in enumerate(self.supervision) if weight)

    @property
    def weights(self) -> tuple[float, ...]:
        """Share of each application, the last one included, in the loss of the bytes; their sum is 1."""
        relative = (*(self.supervision or (0.0,) * (self.depth - 1)), 1.0)
        return tuple(weight / sum(relative) for weight in relative)

    def breaches(self) -> Iterator[Breach]:
        """One weight per application but the last; no more forced applications than there are."""
        if self.supervision and len(self.supervision) != self.depth - 1:
            yield Breach("supervision", f"has {len(self.supervision)} weights, recursion.depth - 1 is {self.depth - 1}")
        if any(weight < 0 for weight in self.supervision):
            yield Breach("supervision", "has a negative weight")
        if self.min_depth > self.depth:
            yield Breach("min_depth", f"{self.min_depth} is more than recursion.depth ({self.depth})")
        if self.halting and self.depth == 1:
            yield Breach("halting", "is on, but recursion.depth is 1", "there is nothing to stop; set recursion.depth")
