"""What jumps cost and what they brought, and whether they stay on."""

from __future__ import annotations

from dataclasses import dataclass, field

MIN_CREDITS = 3
"""Jumps that are judged together before they can be turned off."""

FORWARD_SHARE = 1 / 3
"""Cost of a forward pass as a share of a step: two thirds are the backward pass. A count, not a clock, so that a
resumed run decides as an unbroken one does."""


@dataclass(slots=True)
class Ledger:
    """Account of one run's jumps.

    Attributes:
        spent_steps: Cost of all probes so far, in steps.
        cost_nats: The same in nats, at the slope of the loss when they were made.
        credits: Credit of each finished jump: forecast minus measured loss of the averaged weights, in nats.
        accepted, refused, rolled_back: Jumps by outcome.
        off: Why jumps are off for the rest of the run; empty while they are on.
    """

    spent_steps: float = 0.0
    cost_nats: float = 0.0
    credits: list[float] = field(default_factory=list)
    accepted: int = 0
    refused: int = 0
    rolled_back: int = 0
    off: str = ""

    def spend(self, steps: float, nats_per_step: float) -> None:
        """Books the cost of a probe."""
        self.spent_steps += steps
        self.cost_nats += steps * max(0.0, nats_per_step)

    def credit(self, nats: float) -> None:
        """Books a finished jump, and turns jumps off once they have not paid for themselves."""
        self.credits.append(nats)
        total = sum(self.credits)
        if len(self.credits) >= MIN_CREDITS and total <= self.cost_nats and not self.off:
            self.off = (
                f"{len(self.credits)} jumps brought {total:.4f} nats and their probes cost {self.cost_nats:.4f}: "
                "jumps stay off"
            )
