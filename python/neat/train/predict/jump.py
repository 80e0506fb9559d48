"""PREDICT: one jump without a backward pass, and the measurements that allow or refuse it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from neat.train.predict.probe import Probe, paired
from neat.train.predict.trajectory import Trajectory, norm
from neat.train.state import Trainer

MIN_SIGMAS = 2.0
"""Standard errors by which a gain must exceed zero."""
LITERAL_SIGMAS = 3.0
"""Standard deviations above its forecast at which the loss of a literal step ends the jump."""


@dataclass(slots=True)
class Jump:
    """One try and what was measured.

    Attributes:
        delta: Displacement that the share multiplies, one full-size tensor per parameter.
        share: Share of it that was applied, 0 when refused.
        span: Steps over which the displacement was made.
        before: Loss of each held-back batch at the point before the jump.
        candidates: (share, gain in nats, standard error) of each share tried.
        gain: Gain of the share applied.
        spent: Calls of the probe.
    """

    delta: list[Tensor]
    span: int
    before: list[float]
    share: float = 0.0
    reason: str = ""
    gain: float = 0.0
    candidates: list[tuple[float, float, float]] = field(default_factory=list)
    spent: int = 0

    @property
    def accepted(self) -> bool:
        """Whether weights were moved."""
        return self.share > 0

    @property
    def horizon(self) -> int:
        """Predicted steps that were applied."""
        return round(self.share * self.span)


@torch.no_grad()
def macro(trainer: Trainer, path: Trajectory, probe: Probe, shares: Sequence[float], max_steps: float) -> Jump:
    """Tries shares of the smoothed displacement by forward passes at the smoothed point, and applies the best.

    The point is probed, never the weights: their loss rewards the removal of noise and punishes progress along the
    river. The first share that is worse than the one before ends the search. Weights, and only they, are changed.
    """
    span = trainer.step - path.anchor_step
    kept = [weight.clone() for weight in path.weights]
    torch._foreach_copy_(path.weights, path.point)
    jump = Jump(path.displacement(), span, probe.losses(trainer), spent=1)
    applied, best = 0.0, 0.0
    for share in shares:
        if share * span > max_steps:
            break
        torch._foreach_add_(path.weights, jump.delta, alpha=share - applied)
        applied = share
        gain, error = paired(jump.before, probe.losses(trainer))
        jump.spent += 1
        jump.candidates.append((share, gain, error))
        if gain <= best:
            break
        best = gain
        if gain > MIN_SIGMAS * error:
            jump.share, jump.gain = share, gain
    torch._foreach_copy_(path.weights, kept)
    jump.reason = _explain(jump, max_steps)
    if jump.accepted:
        path.move(jump.delta, jump.share)
    return jump


def _explain(jump: Jump, max_steps: float) -> str:
    if jump.accepted:
        return f"{jump.share:g} of the last {jump.span} steps gains {jump.gain:.4f} nats at the averaged weights"
    if not jump.candidates:
        return f"even the smallest share of {jump.span} steps is longer than the {max_steps:.0f} that confidence allows"
    share, gain, error = max(jump.candidates, key=lambda row: row[1])
    return (
        f"no share gains more than {MIN_SIGMAS:g} standard errors: best {share:g} with {gain:+.4f} +- {error:.4f} nats"
    )


@torch.no_grad()
def literal(
    trainer: Trainer, path: Trajectory, probe: Probe, *, max_steps: float, damping: float, scale: float, limit: float
) -> Jump:
    """Repeats the last displacement step by step, each `damping` times the one before, with a forward pass after each.

    A loss above `limit` ends it and undoes all of it. As in the hybrid trainers this form comes from; it is measured,
    not recommended.
    """
    span = trainer.step - path.anchor_step
    kept = [weight.clone() for weight in path.weights]
    jump = Jump(path.displacement(), span, probe.losses(trainer), spent=1)
    share, size, loss = 0.0, scale / span, 0.0
    for number in range(1, int(max_steps) + 1):
        torch._foreach_add_(path.weights, jump.delta, alpha=size)
        share, size = share + size, size * damping
        after = probe.losses(trainer)
        loss = sum(after) / len(after)
        jump.spent += 1
        if not loss <= limit:
            torch._foreach_copy_(path.weights, kept)
            jump.reason = f"predicted step {number} has loss {loss:.4f}, above the limit {limit:.4f}"
            return jump
    jump.share, jump.gain = share, sum(jump.before) / len(jump.before) - loss
    jump.candidates.append((share, *paired(jump.before, after)))
    jump.reason = f"{int(max_steps)} predicted steps stay below loss {limit:.4f}"
    return jump


def size(jump: Jump) -> float:
    """Norm of the whole displacement that was applied."""
    return jump.share * float(norm(jump.delta))
