"""Settings of the run itself: its length and batches, its checkpoints, the machine it uses."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from pydantic import Field

from neat.config.base import Breach, Curriculum, Section, Stages

LENGTHS = ("max_steps", "max_bytes", "budget")
"""The three ways to say how long to train; a run has exactly one of them."""

_DURATION = re.compile(r"(?:(\d{1,6}(?:\.\d{1,6})?)h)?(?:(\d{1,6}(?:\.\d{1,6})?)m)?(?:(\d{1,9}(?:\.\d{1,6})?)s)?")


def parse_duration(text: str) -> float | None:
    """Seconds in a duration such as `300s`, `5m` or `1h30m`; None when `text` is not one (or is zero)."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds or None


class Stage(NamedTuple):
    """Part of a run with one shape of rows: where it ends, and its two lengths.

    `end` is the share of the steps before which it ends, infinite for the last stage. `window` is in positions;
    `patch_length` is the mean patch in bytes, None for patcher.mean_length.
    """

    end: float
    window: int
    patch_length: float | None


class Train(Section):
    """Length of the run, batches, evaluation while training. Exactly one of the first three is set."""

    mode: Literal["text", "expert", "dispatcher"] = "text"
    """What is trained: a model on text, one expert vector on a finished model, or the classifier that chooses among
    its experts. The last two count their length in steps."""
    max_steps: int = Field(default=0, ge=0, le=10**12)
    """Length of the run in steps (0: not given in steps)."""
    max_bytes: int = Field(default=0, ge=0, le=10**18)
    """Length of the run in positions of text, padding included (0: not given in bytes)."""
    budget: str = "5m"
    """Length of the run in time, such as 300s, 5m or 1h30m (empty: not given in time). It is turned into a number
    of steps after the first measured ones and again after each change of the window; a resumed run keeps the number."""
    batch_bytes: int = Field(default=2048, ge=16, le=2**34)
    """Positions per step (16 to 2^34); a multiple of every window."""
    micro_batch_bytes: int = Field(default=0, ge=0, le=2**34)
    """Positions per forward pass (0: the whole batch). A smaller value accumulates gradients to the same step."""
    window: int = Field(default=256, ge=16, le=1_048_576)
    """Positions per row (16 to 1048576)."""
    curriculum: Curriculum = ((0.15, 64), (0.20, 128))
    """Shorter windows at the start: pairs of share of the steps and window. The rest of the run uses train.window."""
    tune: bool = False
    """Begin with short forked branches that choose learning rates, momentum and batch; the run goes on with the choice.
    What they cost is taken off its length."""
    tune_share: float = Field(default=0.05, gt=0.0, le=0.5)
    """Most that tuning may cost, as a share of the run (up to 0.5)."""
    patch_curriculum: Stages = ()
    """Coarser patches at the start: pairs of share of the steps and mean patch length in bytes, such as [[0.3, 8.0]].
    The rest of the run, evaluation and generation use patcher.mean_length. Needs patcher.rule="global"."""
    patch_slack: float = Field(default=1.25, ge=1.0, le=64.0)
    """Room for patches in a row, as a multiple of window / patcher.mean_length (1 to 64)."""
    log_every: int = Field(default=10, ge=1, le=1_000_000)
    """Steps between step events (1 to 1000000)."""
    diagnose_every: int = Field(default=0, ge=0, le=10**12)
    """Steps between events with gradient norm, time and state of each component (0: none); such a step is slower."""
    eval_every: int = Field(default=0, ge=0, le=10**12)
    """Steps between evaluations (0: only at the end)."""
    eval_bytes: int = Field(default=0, ge=0, le=2**40)
    """Held-out text per evaluation, in bytes (0: all of it)."""
    sample_bytes: int = Field(default=400, ge=0, le=65_536)
    """Length of the sample written at the end, in bytes (0 to 65536; 0: none)."""
    max_skipped_steps: int = Field(default=10, ge=1, le=10_000)
    """Updates with non-finite numbers skipped in a row before the run stops (1 to 10000)."""

    @property
    def budget_s(self) -> float | None:
        """The time budget in seconds, None when the length is given otherwise."""
        return parse_duration(self.budget)

    @property
    def windows(self) -> tuple[int, ...]:
        """Every window length of the run in the order of use, without repeats."""
        return tuple(dict.fromkeys([*(window for _, window in self.curriculum), self.window]))

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages of the run: a new one begins where the window or the patch length changes."""
        windows, lengths = _ends(self.curriculum), _ends(self.patch_curriculum)
        ends: list[float] = []
        for end in sorted([*windows, *lengths]):
            if not ends or end - ends[-1] > _SAME_SHARE:
                ends.append(end)
        each_window = [*(window for _, window in self.curriculum), self.window]
        each_length = [*(length for _, length in self.patch_curriculum), None]
        return tuple(
            Stage(end, each_window[_passed(windows, begin)], each_length[_passed(lengths, begin)])
            for begin, end in zip([0.0, *ends], [*ends, math.inf], strict=True)
        )

    def breaches(self) -> Iterator[Breach]:
        """One length, whole rows per batch, a curriculum that rises to the window."""
        yield from self._length_breaches()
        yield from self._batch_breaches()
        yield from self._curriculum_breaches()
        if self.tune and self.mode != "text":
            yield Breach("tune", f'is true with train.mode="{self.mode}"', "only training on text can tune itself")

    def _length_breaches(self) -> Iterator[Breach]:
        if self.budget and self.budget_s is None:
            yield Breach("budget", f"{self.budget!r} is not a duration", "write it as 300s, 5m or 1h30m")
        given = [f"train.{key}" for key in LENGTHS if getattr(self, key)]
        if len(given) > 1:
            yield Breach(
                given[0].removeprefix("train."),
                f"and {' and '.join(given[1:])} are both lengths of the run",
                "set exactly one of train.max_steps, train.max_bytes and train.budget",
            )
        if not given:
            yield Breach(
                "max_steps",
                "is 0, and so are train.max_bytes and train.budget",
                "set exactly one of train.max_steps, train.max_bytes and train.budget",
            )

    def _batch_breaches(self) -> Iterator[Breach]:
        for window in self.windows:
            if window > 0 and self.batch_bytes % window:
                yield Breach(
                    "batch_bytes",
                    f"{self.batch_bytes} is not a multiple of the window {window}",
                    f"try {max(1, round(self.batch_bytes / window)) * window}",
                )
            if window > 0 and self.micro_batch_bytes % window:
                yield Breach("micro_batch_bytes", f"{self.micro_batch_bytes} is not a multiple of the window {window}")
        if self.micro_batch_bytes and self.batch_bytes % self.micro_batch_bytes:
            yield Breach(
                "micro_batch_bytes", f"{self.micro_batch_bytes} does not divide train.batch_bytes ({self.batch_bytes})"
            )

    def _curriculum_breaches(self) -> Iterator[Breach]:
        for share, window in self.curriculum:
            if not 0.0 < share < 1.0:
                yield Breach("curriculum", f"has a share of {share:g}", "shares lie between 0 and 1")
            if not 16 <= window <= self.window:
                yield Breach(
                    "curriculum",
                    f"has a window of {window}",
                    f"windows lie between 16 and train.window ({self.window}); [] switches it off",
                )
        for share, length in self.patch_curriculum:
            if not 0.0 < share < 1.0:
                yield Breach("patch_curriculum", f"has a share of {share:g}", "shares lie between 0 and 1")
            if not 1.0 <= length <= 64.0:
                yield Breach("patch_curriculum", f"has a patch length of {length:g}", "lengths lie between 1 and 64")
        for key in ("curriculum", "patch_curriculum"):
            if sum(share for share, _ in getattr(self, key)) > 1.0:
                yield Breach(key, "has shares that add up to more than 1")


_SAME_SHARE = 1e-9
"""Shares nearer than this are one: 0.3 and 0.1 + 0.2 differ by rounding."""


def _ends(curriculum: Sequence[tuple[float, float]]) -> list[float]:
    return list(accumulate(share for share, _ in curriculum))


def _passed(ends: Sequence[float], share: float) -> int:
    """How many stages of one curriculum are over at `share`."""
    return sum(share >= end - _SAME_SHARE for end in ends)


class Checkpoint(Section):
    """When the run is saved and what is kept."""

    every_steps: int = Field(default=500, ge=1, le=10**9)
    """Steps between checkpoints (1 to 10^9)."""
    keep: int = Field(default=2, ge=2, le=10_000)
    """Newest checkpoints kept (2 to 10000)."""


class Runtime(Section):
    """What the run uses of the machine."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto takes cuda, then mps, then cpu."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of the activations; auto takes bfloat16 where the device computes in it natively."""
    threads: int = Field(default=0, ge=0, le=4096)
    """CPU threads (0 to 4096; 0: as many as torch takes, usually one per core)."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the network; auto does so where the run is long enough to repay it."""
