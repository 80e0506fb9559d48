"""What a setting is worth, asked of a run in its middle: the credit test.

Two branches start from one checkpoint, one with the settings of the run and one with others; both read the same rows
and let the learning rate decay fully over a good part of the steps that the run has behind it, because a short decay
credits what a longer one erases. The paired difference of their losses on held-back rows is the credit. It is repeated
on other continuations of the text, and called noise unless it is clear of two standard errors, over rows and over
repeats.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from neat.config.compare import difference
from neat.config.load import load
from neat.config.schema import Config
from neat.errors import CheckpointError, ConfigError, LockedError, UsageError
from neat.events.lock import RunLock
from neat.events.rundir import RunPaths
from neat.events.writer import EventWriter
from neat.optim import schedule
from neat.train import checkpoint
from neat.train.build import build
from neat.train.ending import ending
from neat.train.fork import Fork, check_changes
from neat.train.loading import read_config, run_of
from neat.train.loop import train_step
from neat.train.state import restore

MIN_DECAY_SHARE = 0.2
"""A shorter decay, as a share of the elapsed steps, credits what a longer one erases."""
MIN_STEPS = 8
"""Steps of a branch, at least."""
MIN_SCALE = 0.2
"""Below this share of its peak the learning rate has decayed so far that branches can no longer differ."""
HELD_BACK, MAX_HELD_BACK = 8, 32
"""Batches that branches are scored on: at least, and at most; in between one for every eight steps."""
CLEAR = 2.0
"""Standard errors that a credit must be clear of."""


@dataclass(frozen=True, slots=True)
class Credit:
    """The result of a credit test.

    Attributes:
        changes: Settings and their values in the branch that is tested.
        step: Finished steps of the checkpoint.
        steps: Length of each branch in steps of the run, of which `decay_steps` are decay.
        repeats: For each continuation of the text the mean loss with the run's settings and with the changed ones, in
            nats per byte.
        difference: Mean of changed minus unchanged over all held-back batches; below zero is a gain.
        error_batches: Standard error over batches.
        error_repeats: Standard error over repeats; None for a single one.
        verdict: `better`, `worse` or `noise`.
    """

    changes: dict[str, object]
    step: int
    steps: int
    decay_steps: int
    repeats: list[tuple[float, float]]
    difference: float
    error_batches: float
    error_repeats: float | None
    verdict: str

    @property
    def error(self) -> float:
        """The larger of the two standard errors."""
        return max(self.error_batches, self.error_repeats or 0.0)

    def sentence(self) -> str:
        """The verdict in words."""
        what = {
            "better": "better with the change",
            "worse": "worse with the change",
            "noise": f"within noise: less than {CLEAR:g} standard errors from zero",
        }[self.verdict]
        alone = "" if self.error_repeats is not None else "; one repeat says nothing of other continuations"
        return f"{self.difference:+.5f} +- {self.error:.5f} nats per byte: {what}{alone}"


def credit(
    path: Path,
    overrides: Sequence[str],
    *,
    steps: int | None = None,
    decay_share: float = 0.25,
    repeats: int = 3,
    tell: Callable[[str], None] = lambda text: None,
) -> Credit:
    """Runs the test on a run directory or one of its checkpoints.

    Args:
        path: Run directory, whose newest checkpoint is taken, or a checkpoint folder.
        overrides: What is changed, as texts `KEY=VALUE`.
        steps: Steps of each branch; by default all of it is decay.
        decay_share: Length of the decay as a share of the steps that the run has behind it.
        repeats: Continuations of the text.
        tell: Called with a line for people after every repeat.

    Raises:
        NeatError: There is no checkpoint, a setting cannot change in a branch, or the run is too short for the test.
    """
    folder = checkpoint.find(path)
    config = read_config(folder)
    other = load(folder, overrides).config
    _require_change(config, other)
    step, total = _moment(folder)
    decay_steps = math.ceil(decay_share * step)
    steps = decay_steps if steps is None else steps
    _require_length(config, folder, step, total, steps, decay_steps, decay_share)
    batch, turned = config.train.batch_bytes, other.train.batch_bytes
    other_steps = _whole(steps, batch, turned)
    trainer = build(config)
    restore(trainer, folder)
    plain = ending(config, step, total, steps, decay_steps)
    # Both branches read the same positions, also where the batch is what differs.
    longer = ending(other, step, total, other_steps, _whole(decay_steps, batch, turned))
    changes = {key: new for key, _, new in difference(config, other)}
    pairs: list[tuple[list[float], list[float]]] = []
    with Fork(trainer, train_step) as fork, _Record(folder) as record:
        for number in range(repeats):
            fork.hold_back(min(MAX_HELD_BACK, max(HELD_BACK, steps // 8)))
            fork.require_text(steps * batch)
            losses = []
            for branch, length in ((plain, steps), (longer, other_steps)):
                with fork.branch(branch, length) as branched:
                    for progress in fork.steps(branched, length):
                        del progress
                losses.append(fork.score())
            fork.go_on()
            pairs.append((losses[0], losses[1]))
            ours, theirs = (statistics.fmean(one) for one in losses)
            change = f"{ours:.5f} as the run is, {theirs:.5f} changed: {theirs - ours:+.5f}"
            tell(f"repeat {number + 1} of {repeats}: {change}")
            record.repeat(step, number, changes, other_steps, theirs, ours)
        result = summed(pairs, changes, step, steps, decay_steps)
        record.result(result)
    return result


def summed(
    pairs: Sequence[tuple[list[float], list[float]]],
    changes: dict[str, object],
    step: int,
    steps: int,
    decay_steps: int,
) -> Credit:
    """The credit from the losses on held-back batches, unchanged and changed, of every repeat."""
    differences = [[theirs - ours for ours, theirs in zip(*pair, strict=True)] for pair in pairs]
    means = [statistics.fmean(some) for some in differences]
    mean, num = statistics.fmean(means), sum(map(len, differences))
    # Batches vary around the mean of their own repeat; how repeats vary is the other error.
    within = math.sqrt(statistics.fmean(statistics.variance(some) for some in differences) / num)
    between = statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else None
    clear = abs(mean) > CLEAR * max(within, between or 0.0)
    verdict = "noise" if not clear else "better" if mean < 0 else "worse"
    repeats = [(statistics.fmean(ours), statistics.fmean(theirs)) for ours, theirs in pairs]
    return Credit(changes, step, steps, decay_steps, repeats, mean, within, between, verdict)


class _Record:
    """Writes the events of a test into the run, where there is one that nobody else is writing."""

    def __init__(self, folder: Path) -> None:
        run = run_of(folder)
        self._paths = RunPaths(run) if run is not None else None
        self._lock: RunLock | None = None
        self._events: EventWriter | None = None

    def __enter__(self) -> Self:
        if self._paths is not None:
            try:
                self._lock = RunLock(self._paths.lock)
            except LockedError:
                return self  # The run is being trained, and has one writer.
            self._events = EventWriter(self._paths.events, heartbeat_s=None)
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.close()
        if self._lock is not None:
            self._lock.release()

    def repeat(
        self, step: int, number: int, changes: dict[str, object], steps: int, loss: float, baseline: float
    ) -> None:
        """One pair of branches."""
        reason = f"repeat {number + 1}: {loss - baseline:+.5f} nats per byte"
        self._write(step, f"repeat {number + 1}", changes, steps, loss, baseline, "measured", reason)

    def result(self, credit: Credit) -> None:
        """The verdict."""
        ours, theirs = (statistics.fmean(column) for column in zip(*credit.repeats, strict=True))
        self._write(
            credit.step, "credit", credit.changes, credit.steps, theirs, ours, credit.verdict, credit.sentence()
        )

    def _write(
        self,
        step: int,
        name: str,
        changes: dict[str, object],
        steps: int,
        loss: float,
        baseline: float,
        outcome: str,
        reason: str,
    ) -> None:
        if self._events is not None:
            data = {"name": name, "changes": changes, "steps": steps, "loss": loss, "baseline": baseline}
            self._events.write("probe", step, purpose="credit", outcome=outcome, reason=reason, **data)


def figures(credit: Credit) -> dict[str, object]:
    """The result as a table of plain values."""
    return asdict(credit) | {"error": credit.error, "sentence": credit.sentence()}


def _require_change(config: Config, other: Config) -> None:
    if config.train.mode != "text":
        raise ConfigError("a credit test is for runs that train on text", hint="name another run")
    if config == other:
        raise UsageError("nothing is changed: both branches would be the same", hint="name a setting: --set KEY=VALUE")
    for key in ("max_steps", "max_bytes", "budget"):
        if getattr(config.train, key) != getattr(other.train, key):
            raise ConfigError(f"train.{key} is not the length of a branch", hint="use --steps")
    check_changes(config, other)


def _moment(folder: Path) -> tuple[int, int]:
    """Finished steps of a checkpoint and the length of its run."""
    state = checkpoint.read_state(folder)
    return int(state["step"]), int(state["horizon"]["total"])


def _require_length(
    config: Config, folder: Path, step: int, total: int, steps: int, decay_steps: int, decay_share: float
) -> None:
    if decay_share < MIN_DECAY_SHARE:
        raise UsageError(
            f"a decay over {decay_share:g} of the elapsed steps credits what a longer one erases",
            hint=f"--decay-share is at least {MIN_DECAY_SHARE:g}",
        )
    if steps < max(decay_steps, MIN_STEPS):
        raise UsageError(
            f"branches of {steps} steps are too short: after {step} steps of training they have at least "
            f"{max(decay_steps, MIN_STEPS)}",
            hint="leave --steps out, raise it, or name a later checkpoint",
        )
    scale = schedule.lr_scale(config.optim, step, total)
    if scale < MIN_SCALE:
        raise CheckpointError(
            f"at step {step} of {total} the learning rate is at {scale:.0%} of its peak: branches can hardly differ",
            hint="name a checkpoint from before the decay, RUN/checkpoints/step-XXXXXXXX (checkpoint.keep keeps more)",
            where=f"in {folder}",
        )


def _whole(steps: int, batch: int, other: int) -> int:
    """Steps of `other` positions that read what `steps` steps of `batch` positions do."""
    return max(1, round(steps * batch / other))
