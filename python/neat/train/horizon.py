"""How long a run is, in steps, whatever it was given in.

A time budget becomes a number of steps after the first measured ones and again once at each change of the window,
because short windows run at another speed. The number is part of the run's state: a resumed run follows the same
schedule.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from neat.config.schema import Train
from neat.config.training import Stage

SETTLING_STEPS = 5
"""Steps at the start of a stage that are not timed: allocators and caches are cold."""
MEASURED_STEPS = 20
"""Timed steps behind one estimate."""
PROVISIONAL_STEPS = 1000
"""Length assumed until the first estimate of a time budget."""


@dataclass(slots=True)
class Horizon:
    """Length of the run and the stage of its curricula.

    Attributes:
        total: Steps of the whole run; an estimate while `measured` lags behind `stage`.
        stage: Index of the present stage, see `Train.stages`.
        measured: Stages whose speed has been measured.
        spent_s: Seconds of training in earlier attempts and this one, up to the last `tick`.
        stage_step: Finished steps when the stage began.
    """

    total: int
    stage: int = 0
    measured: int = 0
    spent_s: float = 0.0
    stage_step: int = 0

    @classmethod
    def start(cls, train: Train) -> Horizon:
        """The horizon of a fresh run."""
        if train.max_steps:
            return cls(train.max_steps)
        if train.max_bytes:
            return cls(max(1, math.ceil(train.max_bytes / train.batch_bytes)))
        return cls(PROVISIONAL_STEPS)

    def advance(self, train: Train, step: int) -> int:
        """Enters the stage of the step that follows `step` finished ones, never an earlier one; returns its window."""
        ends = [round(stage.end * self.total) for stage in train.stages[:-1]]
        stage = max(self.stage, sum(step >= end for end in ends))
        if stage != self.stage:
            self.stage, self.stage_step = stage, step
        return self.window(train)

    def window(self, train: Train) -> int:
        """Window of the present stage."""
        return self.present(train).window

    def present(self, train: Train) -> Stage:
        """The present stage."""
        return train.stages[self.stage]


class Clock:
    """Turns a time budget into steps by timing the run itself.

    Args:
        train: The configured length.
        horizon: Updated in place.
    """

    def __init__(self, train: Train, horizon: Horizon) -> None:
        self._budget_s, self._horizon = train.budget_s, horizon
        self._last = time.perf_counter()
        self._window_start: tuple[int, float] | None = None

    def tick(self, step: int) -> bool:
        """Notes that `step` steps are finished; true when the length of the run was estimated anew."""
        now = time.perf_counter()
        horizon = self._horizon
        horizon.spent_s += now - self._last
        self._last = now
        if self._budget_s is None or horizon.measured > horizon.stage:
            return False
        in_stage = step - horizon.stage_step
        if in_stage <= SETTLING_STEPS or self._window_start is None:
            self._window_start = (step, horizon.spent_s)
            return False
        first, since = self._window_start
        if step - first < MEASURED_STEPS:
            return False
        step_s = (horizon.spent_s - since) / (step - first)
        horizon.total = step + max(1, round((self._budget_s - horizon.spent_s) / step_s))
        horizon.measured, self._window_start = horizon.stage + 1, None
        return True

    def pause(self) -> None:
        """Starts counting afresh: the time since the last `tick` was not training."""
        self._last = time.perf_counter()
