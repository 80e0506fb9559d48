"""What a tuning run may change, and how: one step up or down on a logarithmic grid for each coordinate.

The coordinates stand in the order of what they are worth (`docs/tuning.md`): all learning rates together, momentum, the
learning rates of everything but the hidden matrices, the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from neat.config.change import changed
from neat.config.schema import Config
from neat.errors import ConfigError
from neat.train.ending import momentum_key, rates, value

Values = Mapping[str, object]


class Coordinate(NamedTuple):
    """One thing to change.

    Attributes:
        name: For people.
        first: Direction that is tried first, 1 or -1.
        values: The keys and values of a configuration moved by a factor.
        fades: A gain in a short branch tends to be gone in a long run, so its trend decides too. Small batches are so:
            the batch up to which more rows help grows with the length of the training (arXiv 2410.21676).
    """

    name: str
    first: int
    values: Callable[[Config, float], Values]
    fades: bool = False

    def moved(self, config: Config, factor: float) -> Config | None:
        """`config` moved by `factor`, None where no valid configuration lies there."""
        try:
            return changed(config, self.values(config, factor))
        except ConfigError:
            return None


def rounded(value: float) -> float:
    """Four significant digits: what a person reads in the table is what the run uses."""
    return float(f"{value:.4g}")


def scaled(config: Config, keys: list[str], factor: float) -> Values:
    """Every key times a factor."""
    return {key: rounded(value(config, key) * factor) for key in keys}


def _all_rates(config: Config, factor: float) -> Values:
    return scaled(config, rates(config), factor)


def _auxiliary(config: Config, factor: float) -> Values:
    return scaled(config, [key for key in rates(config) if key != "optim.lr"], factor)


def _momentum(config: Config, factor: float) -> Values:
    """The memory of the momentum, 1 / (1 - m) steps, times `factor`."""
    key = momentum_key(config)
    return {key: rounded(max(0.0, 1 - (1 - value(config, key)) / factor))}


def _batch(config: Config, factor: float) -> Values:
    batch = round(config.train.batch_bytes * factor)
    # A micro-batch is what fits the device, so a smaller batch is at most one and a larger one is several.
    micro = min(config.train.micro_batch_bytes, batch)
    return {"train.batch_bytes": batch, "train.micro_batch_bytes": micro}


COORDINATES = (
    Coordinate("learning rates", 1, _all_rates),
    Coordinate("momentum", -1, _momentum),
    Coordinate("auxiliary rates", 1, _auxiliary),
    Coordinate("batch", -1, _batch, fades=True),
)
