"""A run tunes itself: short forked branches with a full decay choose learning rates, momentum and batch.

From the best settings so far one coordinate is moved one step on a logarithmic grid, up or down, as long as that helps;
then the next one. All branches read the same rows from the same weights, and a move is taken only where the paired
difference on held-back rows is clear of its standard error. A branch whose forecast ends above the best one is cut.

What is best in a short branch is not what is best in the run: a branch takes higher rates, by `shortened`, so that what
is compared, chosen and reported are always settings of the run.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from neat.config.compare import difference
from neat.config.schema import Config
from neat.errors import ConfigError, DivergedError
from neat.train.ending import decay_start, miniature, shortened
from neat.train.extent import Allowance, Extent, planned
from neat.train.forecast import Course, Forecast, LogLinear, Rival
from neat.train.fork import Fork, Step
from neat.train.moves import COORDINATES, Coordinate
from neat.train.state import Trainer

FACTORS = (2.0, 2**0.5)
"""Steps of the grid: in the first pass over the coordinates, and in the second."""
MAX_BRANCHES = 60
"""Branches that are begun at most: those that diverge at once cost next to nothing."""
CLEAR = 2.0
"""Standard errors that a gain must be clear of."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One branch of the search.

    Attributes:
        name: Coordinate and direction.
        changes: Keys and values in which it differs from the configuration.
        steps: Steps taken.
        loss: Mean loss on the held-back rows in nats per byte; None where it was cut or diverged.
        baseline: That of the best settings before it.
        error: Standard error of the difference of the two.
        outcome: `start`, `better`, `not better`, `cut` or `diverged`.
        reason: A sentence.
    """

    name: str
    changes: dict[str, object]
    steps: int
    loss: float | None
    baseline: float | None
    error: float | None
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What the search found and what it cost.

    Attributes:
        values: Keys and values of the run that differ from the configuration.
        loss: Of the best branch.
        baseline: Of the one with the settings as they were; None where it gave no finite numbers.
        positions: Positions trained on, and a third of those that were scored.
        seconds: Time it took.
        probes: Branches begun.
        configured_batch_bytes: `train.batch_bytes` before the choice, in which a length in steps is counted.
    """

    values: dict[str, object]
    loss: float
    baseline: float | None
    positions: int
    seconds: float
    probes: int
    configured_batch_bytes: int


class StoppedError(Exception):
    """A person asked to stop while branches were running."""


@dataclass(frozen=True, slots=True)
class _Branch:
    """A branch that has ended: settings of the run, course, losses on the held-back rows (None: not finite)."""

    config: Config
    course: Course
    losses: list[float] | None


def tune(
    trainer: Trainer,
    take_step: Step,
    allowance: Allowance,
    tell: Callable[[Probe], None],
    stopping: Callable[[], bool] = lambda: False,
) -> Choice | None:
    """Searches from a trainer at its first step, which it leaves as it was.

    Args:
        trainer: The run.
        take_step: Takes a step of it.
        allowance: The most that the search may cost.
        tell: Called for every branch when it has ended.
        stopping: Whether a person asked to stop; seen after every step.

    Returns:
        The choice; None after a stop.

    Raises:
        ConfigError: The allowance is too small, or no branch ended with finite numbers.
    """
    start = time.perf_counter()
    try:
        with Fork(trainer, take_step) as fork:
            search = _Search(fork, planned(fork, allowance), tell, stopping)
            best = search.run()
    except StoppedError:
        return None
    if best.losses is None:
        raise ConfigError(
            "no settings that tuning tried gave finite numbers",
            hint="lower optim.lr and optim.adamw_lr, or set optim.clip_norm=1",
        )
    return Choice(
        values={key: new for key, _, new in difference(trainer.config, best.config)},
        loss=statistics.fmean(best.losses),
        baseline=search.baseline,
        positions=math.ceil(fork.spent),
        seconds=time.perf_counter() - start,
        probes=search.probes,
        configured_batch_bytes=trainer.config.train.batch_bytes,
    )


class _Search:
    """The branches of one search and the best of them so far."""

    def __init__(self, fork: Fork, extent: Extent, tell: Callable[[Probe], None], stopping: Callable[[], bool]) -> None:
        self._fork, self._extent, self._tell, self._stopping = fork, extent, tell, stopping
        self._best = _Branch(fork.config, Course(extent.probe), None)
        self._tried: list[Config] = []
        self.baseline: float | None = None
        self.probes = 0

    def run(self) -> _Branch:
        """All passes over all coordinates, as far as the allowance reaches."""
        self._try("as configured", self._fork.config)
        if self._best.losses is not None:
            self.baseline = statistics.fmean(self._best.losses)
        for factor in FACTORS:
            for coordinate in COORDINATES:
                self._line(coordinate, factor)
        return self._best

    def _line(self, coordinate: Coordinate, factor: float) -> None:
        """Moves along one coordinate for as long as it helps, the likelier direction first."""
        first = coordinate.first if self._best.losses is not None else -1
        for direction in (first, -first):
            moved = False
            while self.probes < MAX_BRANCHES and self._extent.room(self._fork.spent):
                config = coordinate.moved(self._best.config, factor**direction)
                if config is None or config in self._tried:
                    break
                if not self._try(f"{coordinate.name} x {factor**direction:.3g}", config, fades=coordinate.fades):
                    break
                moved = True
            if moved:
                return

    def _try(self, name: str, config: Config, *, fades: bool = False) -> bool:
        """Runs one branch; whether the search goes on from it: it is the best now, or none was finite so far."""
        self.probes += 1
        self._tried.append(config)
        best, course = self._best, Course(self._extent.probe)
        branch = miniature(shortened(config, self._extent.probe / self._extent.run))
        rival = Rival(best.course, decay_start(branch), LogLinear()) if best.losses is not None else None
        steps = self._extent.probe // config.train.batch_bytes
        changes = {key: new for key, _, new in difference(self._fork.config, config)}
        probe = Probe(name, changes, steps, None, _mean(best.losses), None, "diverged", "numbers that are not finite")
        try:
            cut = self._follow(branch, steps, course, rival)
            if cut is not None:
                reason = f"forecast {math.exp(cut.mean):.3f} times the best loss, at least {math.exp(cut.lower):.3f}"
                probe = replace(probe, steps=int(steps * course.share), outcome="cut", reason=reason)
            elif all(map(math.isfinite, losses := self._fork.score())):
                probe = judged(probe, losses, best.losses)
                if fades and rival is not None:
                    probe = lasting(probe, rival.trend(self._extent.run / self._extent.probe))
                if probe.outcome in ("start", "better"):
                    self._best = _Branch(config, course, losses)
        except DivergedError:
            probe = replace(probe, steps=int(steps * course.share))
        if self._best.losses is None:
            self._best = _Branch(config, course, None)
        self._tell(probe)
        return self._best.config is config

    def _follow(self, branch: Config, steps: int, course: Course, rival: Rival | None) -> Forecast | None:
        """Takes the steps of a branch, up to the end or to where it is hopeless; then the forecast that says so."""
        with self._fork.branch(branch, steps) as trainer:
            for progress in self._fork.steps(trainer, steps):
                if self._stopping():
                    raise StoppedError
                loss = float(progress.loss)
                if not math.isfinite(loss):
                    raise DivergedError("the loss of a branch is not finite")
                if course.add(branch.train.batch_bytes, loss) and rival is not None:
                    cut = rival.hopeless(course)
                    if cut is not None:
                        return cut
        return None


def judged(probe: Probe, losses: list[float], best: list[float] | None) -> Probe:
    """`probe` with its loss, and whether it is better than the `best` losses on the same rows, with the reason."""
    loss = statistics.fmean(losses)
    if best is None:
        first = "the settings as configured" if not probe.changes else "the first settings with finite numbers"
        return replace(probe, loss=loss, outcome="start" if not probe.changes else "better", reason=first)
    changes = [mine - other for mine, other in zip(losses, best, strict=True)]
    mean, error = statistics.fmean(changes), statistics.stdev(changes) / math.sqrt(len(changes))
    better = mean < -CLEAR * error
    reason = f"{mean:+.4f} +- {error:.4f} nats per byte" + ("" if better else ", no clear gain")
    return replace(probe, loss=loss, error=error, outcome="better" if better else "not better", reason=reason)


def lasting(probe: Probe, trend: Forecast | None) -> Probe:
    """`probe`, not better where the trend of the losses says that the gain will be gone in the length of the run."""
    if probe.outcome != "better" or (trend is not None and trend.mean < 0):
        return probe
    end = "cannot be told" if trend is None else f"is forecast to be {math.exp(trend.mean):.3f} times the other's"
    return replace(probe, outcome="not better", reason=f"{probe.reason}, but the loss at the length of the run {end}")


def _mean(losses: list[float] | None) -> float | None:
    return None if losses is None else statistics.fmean(losses)
