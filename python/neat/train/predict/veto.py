"""Why a jump is not tried: a pure function from the situation to sentences, the weightiest first."""

from __future__ import annotations

from dataclasses import dataclass

MIN_LR = 0.9
"""Share of the peak below which the learning rate counts as decaying; a jump made there is lost."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What speaks for or against a jump.

    Attributes:
        off: Why jumps are off for good; empty while they are on. lr: Learning rate as a share of its peak. covered,
        window: Steps that the trajectory covers, and those that a jump needs. since_alarm: Steps since the divergence
        monitor warned; None if it never did. left, correct: Steps left in the run, and those of CORRECT. watched:
        Whether there is a dynamics model. confidence, min_confidence: Probability that the loss falls over the jump
        (None: no forecast), and the least one. max_steps: Predicted steps that confidence and earlier rollbacks allow.
        spent, expected, allowed: Cost of probes so far, of this one at most, and the cap, in steps.
    """

    off: str
    lr: float
    covered: int
    window: int
    since_alarm: int | None
    left: int
    correct: int
    watched: bool
    confidence: float | None
    min_confidence: float
    max_steps: float
    spent: float
    expected: float
    allowed: float


def vetoes(s: Situation) -> tuple[str, ...]:
    """Reasons against a jump now; empty when nothing speaks against one."""
    rules = (
        (bool(s.off), s.off),
        (not s.watched, "dynamics.on is false: without a forecast no jump is tried"),
        (s.lr < MIN_LR, f"the learning rate is at {s.lr:.2f} of its peak; jumps need {MIN_LR:g}"),
        (s.left <= s.correct, f"{s.left} steps are left, CORRECT takes {s.correct}"),
        (s.covered < s.window, f"the trajectory covers {s.covered} of {s.window} steps"),
        (
            s.since_alarm is not None and s.since_alarm < s.window,
            f"a warning {s.since_alarm} steps ago; {s.window} quiet steps are needed",
        ),
        (s.confidence is None, "the dynamics model has no forecast yet"),
        (
            s.confidence is not None and s.confidence < s.min_confidence,
            f"confidence {s.confidence or 0:.2f} that the loss falls is below {s.min_confidence:g}",
        ),
        (s.max_steps < 1, f"confidence and rollbacks allow {s.max_steps:.1f} predicted steps"),
        (
            s.spent + s.expected > s.allowed,
            f"probes cost {s.spent:.1f} steps, this one up to {s.expected:.1f}; the cap allows {s.allowed:.1f}",
        ),
    )
    return tuple(text for holds, text in rules if holds)
