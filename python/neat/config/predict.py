"""Settings of hybrid prediction: predicted deltas on every step, jumps without backward passes, and their limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from neat.config.base import Breach, Floats, Integers, Section


class Predict(Section):
    """WARMUP, FULL, PREDICT and CORRECT: what is predicted, how long each phase lasts, when a jump is refused."""

    micro: bool = True
    """Every real step outside WARMUP and CORRECT begins with a predicted delta: predict.gain times the schedule's
    factor times the moving average of displacements. The gradient is taken after it and corrects it."""
    gain: float = Field(default=0.3, ge=-1.0, le=1.5)
    """Share of the average displacement that is added (-1 to 1.5; below 0 it is taken away)."""
    decay: float = Field(default=0.97, ge=0.0, lt=1.0)
    """Decay per step of the average displacement (0 to below 1); 0.97 for a thousand steps, 0.99 for many thousands."""
    buffer_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type in which the average displacement is kept; bfloat16 halves its memory."""
    learn_gain: bool = False
    """The dynamics model scales the gain for each kind of tensor, between 0 and 1.5."""
    jumps: Literal["off", "macro", "literal"] = "macro"
    """What PREDICT does: macro moves along the smoothed trajectory where a forward probe at the averaged weights finds
    a gain; literal repeats the last displacement step by step, as a comparison; off stays in FULL."""
    warmup_steps: int = Field(default=200, ge=1, le=10**9)
    """Steps of WARMUP at the beginning (1 to 10^9); it also lasts as long as the learning rate rises."""
    full_steps: int = Field(default=40, ge=1, le=10**9)
    """Steps of FULL before PREDICT may be tried, and between two tries (1 to 10^9)."""
    predict_steps: int = Field(default=100, ge=1, le=10**6)
    """Most predicted steps of one jump (1 to 10^6); confidence shortens it."""
    correct_steps: int = Field(default=15, ge=1, le=10**6)
    """Real steps of CORRECT after a jump (1 to 10^6)."""
    window: int = Field(default=0, ge=0, le=10**6)
    """Steps over which a jump's displacement is taken (0 to 10^6; 0: grows with the run, 0.15 of its steps and at least
    50)."""
    shares: Floats = (0.125, 0.25, 0.5, 1.0)
    """Shares of that displacement that are tried, in rising order (each above 0, up to 4)."""
    damping: float = Field(default=0.9, gt=0.0, le=1.0)
    """Factor from one literal predicted step to the next (above 0, up to 1)."""
    probe_batches: int = Field(default=4, ge=1, le=1024)
    """Training batches held back for probes (1 to 1024)."""
    min_confidence: float = Field(default=0.6, ge=0.0, le=1.0)
    """Confidence, the forecast's probability that the loss falls over the jump, below which PREDICT is refused (0 to
    1)."""
    cost_cap: float = Field(default=0.01, ge=0.0, le=1.0)
    """Most that probes of macro jumps may cost, as a share of the steps done (0 to 1)."""
    pull_back: bool = True
    """CORRECT takes a part of a jump back where gradients say that it went too far."""
    max_rollbacks: int = Field(default=3, ge=0, le=1000)
    """Times that weights may return to the last healthy ones, after a jump or a divergence (0 to 1000; 0: never)."""

    @property
    def on(self) -> bool:
        """Whether anything is predicted."""
        return self.micro or self.jumps != "off"

    def breaches(self) -> Iterator[Breach]:
        """Shares rise; a cycle fits together."""
        if not self.shares or any(not 0.0 < share <= 4.0 for share in self.shares):
            yield Breach("shares", "must lie above 0 and up to 4", "try [0.125, 0.25, 0.5, 1.0]")
        if list(self.shares) != sorted(set(self.shares)):
            yield Breach("shares", "must rise", "sort them and name each once")
        if self.jumps != "off" and 0 < self.window < self.full_steps:
            yield Breach(
                "window",
                f"{self.window} is less than predict.full_steps ({self.full_steps}): the phases cannot cycle",
                "a jump needs the displacement over a whole FULL phase; raise predict.window or set it to 0",
            )


class Dynamics(Section):
    """The dynamics model that watches training: what it sees, how large it is, how far it looks."""

    on: bool = True
    """Watch training, forecast its loss and gate jumps. Without it jumps are refused for want of a forecast."""
    every_steps: int = Field(default=10, ge=1, le=10_000)
    """Steps between two observations (1 to 10000)."""
    event_every: int = Field(default=5, ge=1, le=10_000)
    """Observations between two events of the model (1 to 10000)."""
    gram_every: int = Field(default=5, ge=1, le=10_000)
    """Observations between two measurements of inner products of the trajectory (1 to 10000)."""
    horizons: Integers = (10, 30, 100)
    """Steps ahead that the loss is forecast for, in rising order (each 1 to 100000, at most 8)."""
    hidden: int = Field(default=48, ge=1, le=1024)
    """Width of the recurrent state (1 to 1024)."""
    latent: int = Field(default=12, ge=1, le=256)
    """Width of the stochastic state (1 to 256)."""
    members: int = Field(default=3, ge=1, le=32)
    """Heads whose spread is the epistemic uncertainty (1 to 32)."""
    learning_rate: float = Field(default=1e-3, gt=0.0, le=1.0)
    """Learning rate of the model's own AdamW (up to 1)."""
    free_bits: float = Field(default=1.0, ge=0.0, le=100.0)
    """Divergence of the stochastic state that costs nothing, in bits (0 to 100)."""
    bptt: int = Field(default=32, ge=1, le=1024)
    """Observations through which gradients flow back (1 to 1024)."""
    interval: float = Field(default=0.9, gt=0.0, lt=1.0)
    """Nominal coverage of the calibrated forecast intervals (0 to 1, both excluded)."""
    store: int = Field(default=256, ge=1, le=100_000)
    """Residuals kept by the corrector (1 to 100000)."""
    blend: float = Field(default=0.7, ge=0.0, le=1.0)
    """Weight of similar stored residuals in a correction; the rest is the model's own (0 to 1)."""

    def breaches(self) -> Iterator[Breach]:
        """Horizons rise."""
        wanted = sorted(set(self.horizons))
        if (
            not 1 <= len(self.horizons) <= 8
            or list(self.horizons) != wanted
            or not 1 <= wanted[0] <= wanted[-1] <= 10**5
        ):
            yield Breach("horizons", "must be one to eight rising numbers of steps", "try [10, 30, 100]")
