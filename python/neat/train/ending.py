"""The schedule of a branch: from where the run stands, through a full decay of the learning rate, to its end.

A loss at a high learning rate says little of what it will be after the decay (arXiv 2410.05192), so branches are only
compared at the end of their own.
"""

from __future__ import annotations

from neat.config.change import changed
from neat.config.schema import Config, Optim
from neat.optim import schedule

FRESH_DECAY_SHARE = 0.3
"""Decay of a branch from the first step where the run's own schedule has none."""
LENGTH_EXPONENT = 0.51
"""Best learning rates fall with the positions trained on to this power ("Power Scheduler", arXiv 2408.13359)."""
MEMORY_EXPONENT = 0.25
"""The best memory of the momentum, 1 / (1 - m) steps, grows with the positions trained on to about this power: measured
on a network of 0.34 million parameters from 20 to 1000 steps, see `docs/tuning.md`."""
MAX_RATE = 10.0
"""Highest learning rate that a configuration can have."""


def value(config: Config, key: str) -> float:
    """The number that a dotted key holds."""
    section, _, name = key.partition(".")
    return float(getattr(getattr(config, section), name))


def rates(config: Config) -> list[str]:
    """Keys of all peak learning rates of gradients; the outer step of SNOO takes displacements."""
    keys = [key for key in Optim.model_fields if key == "lr" or key.endswith("_lr")]
    return [f"optim.{key}" for key in keys if key != "outer_lr"]


def miniature(config: Config) -> Config:
    """Settings of a branch from the first step: the whole run made short, with a decay at its end in any case."""
    if config.optim.schedule != "constant":
        return config
    decay = min(FRESH_DECAY_SHARE, 1 - config.optim.warmup_share)
    return changed(config, {"optim.schedule": "wsd", "optim.decay_share": decay})


def momentum_key(config: Config) -> str:
    """The momentum of the hidden matrices: Muon's own, or AdamW's beta1."""
    return "optim.beta1" if config.optim.name == "adamw" else "optim.momentum"


def shortened(config: Config, share: float) -> Config:
    """`config` for a run of `share` of the length: learning rates higher, the memory of the momentum shorter."""
    factor, key = share**-LENGTH_EXPONENT, momentum_key(config)
    values: dict[str, object] = {key: min(MAX_RATE, value(config, key) * factor) for key in rates(config)}
    memory = max(1.0, share**MEMORY_EXPONENT / (1 - value(config, key)))
    return changed(config, values | {key: 1 - 1 / memory})


def decay_start(config: Config) -> float:
    """Share of a branch at which its decay begins."""
    optim = config.optim
    return optim.warmup_share if optim.schedule == "cosine" else 1 - optim.decay_share


def ending(config: Config, step: int, total: int, steps: int, decay_steps: int) -> Config:
    """Settings of a branch of `steps` steps from finished step `step` of a run of `total`.

    Learning rates begin at what they are now and fall linearly over the last `decay_steps`; momentum and the average go
    on as they would in the run.
    """
    optim, length = config.optim, step + steps
    scale = schedule.lr_scale(optim, step, total)
    # A warm-up that is under way goes on to its own end; one that is over must not begin again.
    warmup = round(optim.warmup_share * total)
    in_warmup = step < warmup
    decay_steps = min(decay_steps, steps)
    warmup_share = min(warmup, length - decay_steps if in_warmup else step) / length
    values: dict[str, object] = {
        "optim.schedule": "wsd",
        "optim.warmup_share": warmup_share,
        "optim.decay_share": min(decay_steps / length, 1 - warmup_share),
        "optim.momentum_warmup_share": min(1.0, optim.momentum_warmup_share * total / length),
        # Rates of a run that is decaying fall on from where they are.
        "optim.min_lr_ratio": optim.min_lr_ratio if in_warmup else min(1.0, optim.min_lr_ratio / scale),
    }
    if not in_warmup and scale < 1:
        for key in rates(config):
            values[key] = getattr(optim, key.removeprefix("optim.")) * scale
    return changed(config, values)
