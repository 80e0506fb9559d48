"""Learning-rate and momentum schedules: pure functions of the step.

`step` counts finished updates, `total` is the length of the run; both count real gradient steps only.
"""

from __future__ import annotations

import math

from neat.config.schema import Optim


def lr_scale(optim: Optim, step: int, total: int) -> float:
    """Factor on every learning rate for the update that follows `step` finished ones, in (0, 1]."""
    warmup = round(optim.warmup_share * total)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if optim.schedule == "constant":
        return 1.0
    start = warmup if optim.schedule == "cosine" else max(warmup, total - round(optim.decay_share * total))
    if step < start:
        return 1.0
    done = min(1.0, (step + 1 - start) / max(1, total - start + 1))
    left = 0.5 * (1 + math.cos(math.pi * done)) if optim.schedule == "cosine" else 1 - done
    return optim.min_lr_ratio + (1 - optim.min_lr_ratio) * left


def momentum(optim: Optim, step: int, total: int) -> float:
    """Muon's momentum for the update that follows `step` finished ones."""
    warmup = optim.momentum_warmup_share * total
    start = min(optim.momentum_start, optim.momentum)
    share = min(1.0, step / warmup) if warmup > 0 else 1.0
    return start + (optim.momentum - start) * share
