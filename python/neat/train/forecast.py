"""How a branch will end, said while it is still running.

The forecast is log-linear: the logarithm of the loss is a straight line in the logarithm of the positions read, fitted
by least squares to the recent part of the course, with the standard error of a new value at the end. Whatever else can
look ahead, a learned model of the dynamics for one, stands behind the same two methods (`Forecaster`).

Two branches that read the same rows in the same order are compared as a pair: the ratio of their losses at equal
positions is far smoother than either loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

BINS = 20
"""Parts of equal length that the course of a branch is averaged in, whatever its batch."""
EARLIEST = 8
"""Parts that must be known before anything is forecast."""
RECENT = 0.5
"""Share of the known course that is fitted."""
DECAY_SIGMA = 0.10
"""What the decay of the learning rate may still change in the logarithm of a ratio of losses: one standard deviation
before the decay begins. A high rate looks worse before its decay than after it, a low one better."""
SIGMAS = 2.0
"""Standard deviations between the forecast and its lower bound."""


class Forecast(NamedTuple):
    """Logarithm of a loss, or of a ratio of losses, with its standard deviation."""

    mean: float
    sigma: float

    @property
    def lower(self) -> float:
        """What it will hardly fall below."""
        return self.mean - SIGMAS * self.sigma


class Forecaster(Protocol):
    """Anything that sees the course of a training and says where it leads."""

    def observe(self, share: float, value: float) -> None:
        """Notes `value`, a logarithm of a loss or ratio, when `share` of the course was finished (0 to 1)."""

    def ahead(self, share: float) -> Forecast | None:
        """The value at `share` of the course; None while too little is known."""


@dataclass(slots=True)
class LogLinear:
    """`value = a + b log(share)` over the recent half of what was observed."""

    points: list[tuple[float, float]] = field(default_factory=list)

    def observe(self, share: float, value: float) -> None:
        """Notes a point of the course."""
        self.points.append((math.log(share), value))

    def ahead(self, share: float) -> Forecast | None:
        """Least squares, and the standard error of a new value (Draper and Smith, "Applied Regression Analysis")."""
        if len(self.points) < EARLIEST:
            return None
        recent = self.points[int(len(self.points) * (1 - RECENT)) :]
        num = len(recent)
        mean_x, mean_y = sum(x for x, _ in recent) / num, sum(y for _, y in recent) / num
        spread = sum((x - mean_x) ** 2 for x, _ in recent)
        slope = sum((x - mean_x) * (y - mean_y) for x, y in recent) / spread
        left = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in recent)
        at = math.log(share) - mean_x
        sigma = math.sqrt(left / (num - 2) * (1 + 1 / num + at * at / spread))
        return Forecast(mean_y + slope * at, sigma)


class Course:
    """Losses of one branch, averaged in parts of equal length.

    Args:
        positions: Length of the branch.
    """

    def __init__(self, positions: int) -> None:
        self.positions = positions
        self.parts: list[float] = []
        self._sum, self._count, self._read = 0.0, 0, 0

    @property
    def share(self) -> float:
        """Share of the branch that was read."""
        return min(1.0, self._read / self.positions)

    def add(self, positions: int, loss: float) -> bool:
        """Notes a step of `positions` positions; true when it completed a part."""
        self._sum, self._count = self._sum + loss, self._count + 1
        self._read += positions
        complete = min(BINS, int(self._read * BINS / self.positions + 1e-9))
        if complete <= len(self.parts):
            return False
        # A step that is longer than a part stands for all the parts that it covers.
        self.parts += [self._sum / self._count] * (complete - len(self.parts))
        self._sum, self._count = 0.0, 0
        return True


class Rival:
    """Compares a branch with the best one so far while it runs.

    Args:
        best: Course of the best branch, which is finished.
        decay_from: Share of the course at which the decay of the learning rate begins.
        forecaster: Looks ahead along the logarithm of the ratio of the two losses.
    """

    def __init__(self, best: Course, decay_from: float, forecaster: Forecaster) -> None:
        self._best, self._decay_from, self._forecaster = best, decay_from, forecaster
        self._seen = 0

    def trend(self, share: float) -> Forecast | None:
        """The logarithm of the ratio at `share` of the course, which may lie far behind its end."""
        return self._forecaster.ahead(share)

    def hopeless(self, course: Course) -> Forecast | None:
        """The forecast of the logarithm of the final ratio where even its lower bound is a loss; None otherwise.

        A branch that is ahead now is never hopeless: against a best one that learns late, a shrinking lead looks like a
        loss to come.
        """
        ratio = 0.0
        for index in range(self._seen, len(course.parts)):
            ratio = math.log(course.parts[index] / self._best.parts[index])
            self._forecaster.observe((index + 1) / BINS, ratio)
        self._seen = len(course.parts)
        if self._seen >= BINS or ratio <= 0:
            return None
        found = self._forecaster.ahead(1.0)
        if found is None:
            return None
        decayed = max(0.0, (self._seen / BINS - self._decay_from) / max(1e-9, 1 - self._decay_from))
        wide = Forecast(found.mean, math.hypot(found.sigma, DECAY_SIGMA * (1 - decayed)))
        return wide if wide.lower > 0 else None
