"""How a person looks at the runs: the range of the charts, the smoothing, the step of a replay."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from neat.monitor.screens.base import Looks
from neat.monitor.series import SMOOTHING, View, x_range
from neat.monitor.snapshot import Snapshot

NARROWEST_SHARE = 1e-6
"""Share of the whole range below which a chart is not zoomed."""


@dataclass
class Looking:
    """`step` is the step that a replay stands at, None when there is none."""

    looks: Looks = field(default_factory=Looks)
    step: int | None = None

    def cursor(self, run: Snapshot) -> int | None:
        """The step at which a run is shown; a shorter run is shown whole."""
        return None if self.step is None or self.step >= run.step else self.step

    def zoom(self, runs: Sequence[Snapshot], factor: float) -> None:
        """`factor` times the range, its newest part where its end is open; 0 shows everything."""
        view = self.looks.view
        if factor == 0:
            self.looks.view = View(by_time=view.by_time)
            return
        whole = x_range(runs, View(by_time=view.by_time))
        low, high = x_range(runs, view)
        width = max((high - low) * factor, (whole[1] - whole[0]) * NARROWEST_SHARE)
        if width >= whole[1] - whole[0]:
            self.looks.view = View(by_time=view.by_time)
        elif view.high is None:
            self.looks.view = replace(view, low=high - width)
        else:
            low = min(max(whole[0], (low + high - width) / 2), whole[1] - width)
            self.looks.view = replace(view, low=low, high=low + width)

    def pan(self, runs: Sequence[Snapshot], share: float) -> None:
        """Moves the range; at the right end it follows the run again."""
        view = self.looks.view
        whole = x_range(runs, View(by_time=view.by_time))
        low, high = x_range(runs, view)
        width = high - low
        if width >= whole[1] - whole[0]:
            return
        low = max(whole[0], low + share * width)
        open_end = low + width >= whole[1]
        self.looks.view = replace(
            view, low=whole[1] - width if open_end else low, high=None if open_end else low + width
        )

    def smooth(self) -> None:
        """The next smoothing."""
        self.looks.smoothing = (self.looks.smoothing + 1) % len(SMOOTHING)

    def axis(self) -> None:
        """Steps or time along the horizontal axis, all of it."""
        self.looks.view = View(by_time=not self.looks.view.by_time)

    def replay(self, run: Snapshot, amount: float) -> None:
        """Moves the replay by reported steps, or by a share of the run below one; 0 leaves it."""
        if amount == 0:
            self.step = None
            return
        with run.store.lock:
            steps = run.store.table("step").steps
            if not steps:
                return
            at = run.step if self.step is None else self.step
            if abs(amount) < 1:
                target = at + amount * (steps[-1] - steps[0])
                row = bisect_left(steps, target)
            elif amount < 0:
                row = bisect_left(steps, at) + int(amount)
            else:
                row = bisect_right(steps, at) - 1 + int(amount)
            row = max(0, min(row, len(steps)))
            self.step = None if row >= len(steps) else steps[row]
