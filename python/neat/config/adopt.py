"""The settings that an expert or dispatcher takes over from its base: all that shape the model and its rows."""

from __future__ import annotations

from collections.abc import Mapping

from neat.config.compare import value_of
from neat.config.load import Origin
from neat.config.schema import Config, settings
from neat.config.show import toml_value
from neat.errors import ConfigError, Problem

SHAPING = ("patcher.", "ngram.", "network.", "memory.", "vision.", "recursion.", "expert.count", "train.window")
"""Beginnings of the keys of which one that is set and differs is a mistake."""
TAKEN = (
    *SHAPING,
    "train.curriculum",
    "train.batch_bytes",
    "train.micro_batch_bytes",
    "train.patch_slack",
    "train.patch_curriculum",
)
"""Beginnings of the keys whose values come from the base."""


def adopt(config: Config, base: Config, origins: Mapping[str, Origin] | None = None) -> Config:
    """`config` with everything that shapes the model as in `base`.

    Args:
        config: Of the training of an expert or dispatcher.
        base: Of the run that it is trained on.
        origins: Where the values of `config` were set, to find the ones that a person set to something else.

    Raises:
        ConfigError: A setting was made that contradicts the base.
    """
    problems = [
        Problem(
            f"{key} is {toml_value(value_of(config, key))} here and {toml_value(value_of(base, key))} in the base",
            "the base decides the shape of the model: leave the setting out, or begin with --config BASE",
            origin.where,
        )
        for key, origin in (origins or {}).items()
        if key.startswith(SHAPING) and origin.where is not None and value_of(config, key) != value_of(base, key)
    ]
    if problems:
        raise ConfigError.of(problems)
    values = config.model_dump(by_alias=True)
    for key in settings():
        if key.startswith(TAKEN):
            section, _, name = key.partition(".")
            values[section][name] = value_of(base, key)
    return Config.model_validate(values)
