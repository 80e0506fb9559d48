"""How long the branches of a tuning run are, and how many of them its allowance pays for.

Everything is counted in positions trained on, which is what floating-point operations are proportional to; scoring a
position costs a third of that. A length or an allowance in time is turned into positions by timing a few steps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from neat.config.schema import Config
from neat.errors import ConfigError
from neat.train.ending import miniature
from neat.train.fork import Fork
from neat.train.predict.ledger import FORWARD_SHARE

PROBES = 12
"""Branches of full length that the allowance is divided into."""
MIN_STEPS, MIN_PROBES = 20, 3
"""Shortest branch, and the fewest of them: the settings as they are, and one move up and one down."""
MULTIPLE = 4
"""Steps of a branch are a multiple of this, so that it is a whole number of larger batches too."""
HELD_BACK, STEPS_PER_HELD_BACK = 4, 10
"""Batches that branches are scored on, at least; one for so many steps of a longer branch."""
MAX_HELD_BACK = 32
"""And at most."""
SETTLING, TIMED = 3, 8
"""Steps before the speed of a run is measured, and steps that are measured."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a search may cost.

    Attributes:
        share: Share of the run.
        seconds: Seconds, in place of the share.
    """

    share: float
    seconds: float | None = None

    def time_s(self, config: Config) -> float | None:
        """The allowance in seconds; None where it is counted in positions."""
        if self.seconds is not None:
            return self.seconds
        budget = config.train.budget_s
        return None if budget is None else self.share * budget


@dataclass(frozen=True, slots=True)
class Extent:
    """Positions of the whole run, of one branch, of a branch with its scoring, and of all branches together.

    `deadline` is when the search ends on the clock of `time.perf_counter`, where the allowance is a time.
    """

    run: int
    probe: int
    cost: float
    allowed: float
    deadline: float | None

    def room(self, spent: float) -> bool:
        """Whether one more branch may begin after `spent` positions."""
        if self.deadline is not None and time.perf_counter() >= self.deadline:
            return False
        return spent + self.cost <= self.allowed


def planned(fork: Fork, allowance: Allowance) -> Extent:
    """Divides the allowance into branches and holds back the rows that they are scored on.

    Raises:
        ConfigError: It does not pay for branches long enough to tell anything.
    """
    start = time.perf_counter()
    config, batch = fork.config, fork.config.train.batch_bytes
    seconds = allowance.time_s(config)
    step_s = _pace(fork) if seconds is not None else None
    run = _run_positions(config, step_s)
    allowed = allowance.share * run if seconds is None or step_s is None else seconds / step_s * batch
    steps = MULTIPLE * int(
        (allowed - fork.spent) / PROBES / (1 + FORWARD_SHARE / STEPS_PER_HELD_BACK) / batch / MULTIPLE
    )
    longest = fork.trainer.text.corpus.num_bytes // batch - MAX_HELD_BACK
    steps = max(MIN_STEPS, min(steps, MULTIPLE * (longest // MULTIPLE)))
    held_back = min(MAX_HELD_BACK, max(HELD_BACK, steps // STEPS_PER_HELD_BACK))
    cost = batch * (steps + FORWARD_SHARE * held_back)
    if allowed - fork.spent < MIN_PROBES * cost:
        raise _too_small(config, allowance, allowed, fork.spent + MIN_PROBES * cost)
    fork.hold_back(held_back)
    fork.require_text(steps * batch)
    return Extent(run, steps * batch, cost, allowed, None if seconds is None else start + seconds)


def _pace(fork: Fork) -> float:
    """Seconds per step, by taking some that are thrown away."""
    start = 0.0
    with fork.branch(miniature(fork.config), SETTLING + TIMED) as trainer:
        for number, progress in enumerate(fork.steps(trainer, SETTLING + TIMED), start=1):
            float(progress.loss)
            if number == SETTLING:
                start = time.perf_counter()
    return (time.perf_counter() - start) / TIMED


def _run_positions(config: Config, step_s: float | None) -> int:
    train = config.train
    if train.max_steps:
        return train.max_steps * train.batch_bytes
    if train.max_bytes or step_s is None:
        return train.max_bytes
    return round((train.budget_s or 0.0) / step_s) * train.batch_bytes


def _too_small(config: Config, allowance: Allowance, allowed: float, needed: float) -> ConfigError:
    batch = config.train.batch_bytes
    share = "" if allowance.seconds is not None else f" (a share of {allowance.share:g} of the run)"
    return ConfigError(
        f"tuning may take {allowed / batch:.0f} steps{share}, and {MIN_PROBES} branches of {MIN_STEPS} steps, which is "
        f"the least, take {needed / batch:.0f} with their scoring",
        hint="lengthen the run, raise the share (--share, or train.tune_share), or train without tuning",
    )
