"""What deserves a look although nobody wrote an alert: spikes, plateaus, gradients, memory, speed.

Every rule is a few running numbers, so that a million steps cost no memory; the limits stand at the top.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from neat.events.schema import Event

SPIKE_SIGMA = 6.0
"""Standard deviations above the recent mean at which a loss is a spike."""
GRADIENT_FACTOR = 10.0
"""Times the recent mean at which a gradient norm is one."""
SLOW_FACTOR = 0.5
"""Share of the recent mean throughput below which the run is slow."""
PLATEAU_REPORTS, PLATEAU_GAIN = 200, 0.002
"""Reports over which the loss must have fallen by this share of itself."""
FULL_SHARE = 0.95
"""Share of a memory in use that is too much."""
LOW_DISK_BYTES = 2 * 2**30
"""Free space below which the next checkpoints may not fit."""
RECENT, NEEDED = 64, 16
"""Reports over which memory fades, and needed before the rules speak."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person should see: `kind` is the rule, or `event` where the trainer said it."""

    kind: str
    severity: str
    step: int
    time: float
    message: str


@dataclass(slots=True)
class _Usual:
    """Mean and spread of the recent values of a metric, and how many there were; older ones fade."""

    mean: float = 0.0
    variance: float = 0.0
    count: int = 0

    @property
    def known(self) -> bool:
        return self.count >= NEEDED

    def add(self, value: float) -> None:
        self.count += 1
        share = max(1.0 / self.count, 1.0 / RECENT)
        away = value - self.mean
        self.mean += share * away
        self.variance = (1.0 - share) * (self.variance + share * away * away)


@dataclass(slots=True)
class Watch:
    """The rules' memory of one attempt; a rule that spoke is silent until its condition has ended."""

    _loss: _Usual = field(default_factory=_Usual)
    _norm: _Usual = field(default_factory=_Usual)
    _rate: _Usual = field(default_factory=_Usual)
    _half: float = math.nan
    _sum: float = 0.0
    _reports: int = 0
    _window: object = None
    _active: set[str] = field(default_factory=set)

    def steps(self, events: Iterable[Event]) -> Iterator[Alert]:
        """Alerts of `step` events."""
        for event in events:
            data = event.data
            broken = data.get("nonfinite")
            if broken or "numbers" in self._active:
                yield from self._say(event, "numbers", f"{_names(broken)} not finite", bool(broken))
            if data.get("train/window") != self._window:
                # Another window runs at another speed.
                self._window = data.get("train/window")
                self._rate = _Usual()
            loss, norm, rate = data.get("train/loss"), data.get("optim/grad_norm"), data.get("perf/bytes_per_s")
            if isinstance(loss, float | int):
                yield from self._spike(event, loss)
                yield from self._plateau(event, loss)
            if isinstance(norm, float | int):
                yield from self._gradient(event, norm)
            if isinstance(rate, float | int):
                yield from self._slow(event, rate)

    def system(self, events: Iterable[Event]) -> Iterator[Alert]:
        """Alerts of `system` events."""
        for event in events:
            for key, total in event.data.items():
                if key.endswith("memory_total_bytes") and isinstance(total, int | float) and total:
                    used = _number(event.data, key.replace("total", "used")) / total
                    where = "GPU " + key.split("/")[1] if key.startswith("gpu/") else "host"
                    yield from self._say(event, f"memory of {where}", f"{used:.0%} in use", used > FULL_SHARE)
            free = _number(event.data, "disk/free_bytes")
            text = f"{free / 2**30:.1f} GiB left for checkpoints"
            yield from self._say(event, "disk", text, free < LOW_DISK_BYTES)

    def _spike(self, event: Event, loss: float) -> Iterator[Alert]:
        usual = self._loss
        if usual.known:
            sigma = math.sqrt(usual.variance) + 1e-3 * abs(usual.mean)
            limit = usual.mean + SPIKE_SIGMA * sigma
            if loss > limit or "spike" in self._active:
                height = (loss - usual.mean) / (sigma or 1.0)
                text = f"loss {loss:.4g}, {height:.0f} standard deviations above the recent {usual.mean:.4g}"
                yield from self._say(event, "spike", text, loss > limit)
            if loss > limit:
                return
        usual.add(loss)

    def _plateau(self, event: Event, loss: float) -> Iterator[Alert]:
        self._sum += loss
        self._reports += 1
        if self._reports < PLATEAU_REPORTS:
            return
        mean, before = self._sum / self._reports, self._half
        self._half, self._sum, self._reports = mean, 0.0, 0
        if not math.isnan(before):
            text = f"loss {mean:.4g} on average over {PLATEAU_REPORTS} reports, {before:.4g} before them"
            yield from self._say(event, "plateau", text, before - mean < PLATEAU_GAIN * before)

    def _gradient(self, event: Event, norm: float) -> Iterator[Alert]:
        usual = self._norm
        large = usual.known and norm > GRADIENT_FACTOR * usual.mean
        if large or "gradients" in self._active:
            yield from self._say(event, "gradients", f"gradient norm {norm:.3g}, usually {usual.mean:.3g}", large)
        if not large:
            usual.add(norm)

    def _slow(self, event: Event, rate: float) -> Iterator[Alert]:
        usual = self._rate
        slow = usual.known and rate < SLOW_FACTOR * usual.mean
        if slow or "speed" in self._active:
            text = f"{rate / 1e3:.1f} kB/s, usually {usual.mean / 1e3:.1f}"
            yield from self._say(event, "speed", text, slow)
        usual.add(rate)

    def _say(self, event: Event, kind: str, text: str, holds: bool) -> Iterator[Alert]:
        if holds and kind not in self._active:
            yield Alert(kind, "warning", event.step, event.time, text)
        (self._active.add if holds else self._active.discard)(kind)


def _number(data: Mapping[str, object], key: str) -> float:
    value = data.get(key)
    return float(value) if isinstance(value, int | float) else math.nan


def _names(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
