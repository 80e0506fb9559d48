"""CORRECT: what the real gradients after a jump say about it, and what is taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from neat.train.predict.jump import Jump
from neat.train.predict.trajectory import Trajectory, dot, norm

MIN_T = 2.0
"""Standard errors by which the mean slope must lie below zero before anything is taken back."""


@dataclass(slots=True)
class Correction:
    """A jump in correction.

    Attributes:
        jump: The accepted jump.
        step: Real steps finished when it was made.
        forecast: Loss of the point expected when CORRECT ends, had there been no jump: `mean`, `sigma` and `corrected`.
            None without a forecast.
        slopes: Of each correcting step: <-g, delta> / |delta|, on the device.
    """

    jump: Jump
    step: int
    forecast: dict[str, float] | None
    slopes: list[Tensor] = field(default_factory=list)

    @torch.no_grad()
    def take_slope(self, gradients: Sequence[Tensor | None]) -> None:
        """Notes whether a gradient would go on along the jump or back; no wait for the device."""
        pairs = [(g, d) for g, d in zip(gradients, self.jump.delta, strict=True) if g is not None]
        length = norm(self.jump.delta).clamp(min=1e-30)
        self.slopes.append(-dot([g for g, _ in pairs], [d for _, d in pairs]) / length)

    @torch.no_grad()
    def share_to_take_back(self) -> tuple[float, float, float]:
        """(share, mean slope, t statistic); the share is 0 unless gradients point back.

        A secant: the slope along the jump was `gain / (share |delta|)` before it and is `s` after it, so that a line
        through both crosses zero `share * |s| / (|s| + before)` behind the jump's end.
        """
        values = [float(value) for value in torch.stack(self.slopes).tolist()]
        mean = sum(values) / len(values)
        if len(values) == 1:
            return 0.0, mean, 0.0
        error = (sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values)) ** 0.5
        statistic = mean / error if error > 0 else 0.0
        if mean >= 0 or statistic > -MIN_T:
            return 0.0, mean, statistic
        jump = self.jump
        before = max(0.0, jump.gain / max(1e-30, jump.share * float(norm(jump.delta))))
        return jump.share * abs(mean) / (abs(mean) + before), mean, statistic


@dataclass(frozen=True, slots=True)
class Residual:
    """Actual minus predicted displacement of the point over a jump and its CORRECT, by kind and in all."""

    norm: float
    cosine: float
    norms: list[float]
    cosines: list[float]


@torch.no_grad()
def residual(correction: Correction, path: Trajectory, steps: int, members: dict[str, list[int]]) -> Residual:
    """Residual r = (E_now - E_before) - share * delta - steps * v, with v = delta / span the velocity before the jump.

    The anchor is the point right after the jump, so (E_now - E_before) - share * delta is point minus anchor. Cosines
    are those of the predicted and the actual displacement. No residual tensor is kept.
    """
    jump = correction.jump
    since = path.displacement()
    predicted = torch._foreach_mul(jump.delta, jump.share + steps / jump.span)
    actual = torch._foreach_add(since, jump.delta, alpha=jump.share)
    rest = torch._foreach_sub(actual, predicted)
    lists = [list(range(len(rest))), *members.values()]
    numbers = torch.stack(
        [
            torch.stack(
                (
                    norm(_of(rest, m)),
                    dot(_of(actual, m), _of(predicted, m)),
                    norm(_of(actual, m)),
                    norm(_of(predicted, m)),
                )
            )
            for m in lists
        ]
    ).tolist()
    rows = [(r, d / max(1e-30, a * p)) for r, d, a, p in numbers]
    return Residual(*rows[0], [r for r, _ in rows[1:]], [c for _, c in rows[1:]])


def _of(tensors: Sequence[Tensor], members: list[int]) -> list[Tensor]:
    return [tensors[index] for index in members]
