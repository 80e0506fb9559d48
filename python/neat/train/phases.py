"""The phases of hybrid prediction as a pure function: (state, observation) -> move.

    WARMUP -> FULL -> PREDICT -> CORRECT -> FULL ...
                ^________|          |
                ^___________________|

FULL and CORRECT are real steps. PREDICT takes none: it tries one jump, and ends at once in CORRECT (accepted) or FULL
(refused). A rollback leads to FULL from anywhere but WARMUP. Nothing here touches a weight or reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """Where a cycle stands."""

    WARMUP = "WARMUP"
    FULL = "FULL"
    PREDICT = "PREDICT"
    CORRECT = "CORRECT"


LEGAL = frozenset(
    {
        (Phase.WARMUP, Phase.FULL),
        (Phase.FULL, Phase.PREDICT),
        (Phase.PREDICT, Phase.CORRECT),
        (Phase.PREDICT, Phase.FULL),
        (Phase.CORRECT, Phase.FULL),
    }
)
"""Every move there is. FULL to FULL is a refusal or a rollback, not a move."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Real steps that a phase lasts; FULL's is a minimum."""

    warmup: int
    full: int
    correct: int


@dataclass(frozen=True, slots=True)
class State:
    """The phase, the step at which it began, and the step of the last refused try since then."""

    phase: Phase = Phase.WARMUP
    since: int = 0
    tried: int = 0


@dataclass(frozen=True, slots=True)
class Observation:
    """What a decision needs to know.

    Attributes:
        step: Finished real steps.
        vetoes: Reasons against a jump now, the weightiest first; empty when nothing speaks against one.
        outcome: Of the jump that PREDICT tried: whether it was accepted, and why. None outside PREDICT.
        recovery: Why weights just returned to the last healthy ones; empty when they did not.
    """

    step: int
    vetoes: tuple[str, ...] = ()
    outcome: tuple[bool, str] | None = None
    recovery: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """A transition, or a refused one (`accepted` is false, and the phase stays)."""

    state: State
    origin: Phase
    target: Phase
    accepted: bool
    reason: str
    length: int


def decide(state: State, seen: Observation, lengths: Lengths) -> Move | None:
    """The move that follows from an observation; None to stay where the run is.

    Raises:
        ValueError: PREDICT without the outcome of its jump, which would be a fault of the caller.
    """
    spent = seen.step - state.since
    if seen.recovery and state.phase is not Phase.WARMUP:
        return _to(state, seen, Phase.FULL, seen.recovery)
    match state.phase:
        case Phase.WARMUP if spent >= lengths.warmup:
            return _to(state, seen, Phase.FULL, f"{spent} steps of warm-up are done")
        case Phase.FULL if seen.step - max(state.tried, state.since) >= lengths.full:
            return _try(state, seen)
        case Phase.PREDICT:
            if seen.outcome is None:
                raise ValueError("PREDICT ends with the outcome of its jump")
            accepted, reason = seen.outcome
            return _to(state, seen, Phase.CORRECT if accepted else Phase.FULL, reason)
        case Phase.CORRECT if spent >= lengths.correct:
            return _to(state, seen, Phase.FULL, f"{spent} correcting steps are done")
    return None


def _try(state: State, seen: Observation) -> Move:
    spent = seen.step - state.since
    if seen.vetoes:
        stay = State(Phase.FULL, state.since, seen.step)
        return Move(stay, Phase.FULL, Phase.PREDICT, accepted=False, reason=seen.vetoes[0], length=spent)
    return _to(state, seen, Phase.PREDICT, f"{spent} full steps are done and nothing speaks against a jump")


def _to(state: State, seen: Observation, phase: Phase, reason: str) -> Move:
    after = State(phase, seen.step, seen.step)
    return Move(after, state.phase, phase, accepted=True, reason=reason, length=seen.step - state.since)
