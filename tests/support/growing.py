"""Small networks grown into larger ones."""

from __future__ import annotations

import torch
from torch import Tensor

from neat.config.base import Section
from neat.config.schema import Config, Network
from neat.model.growth.grow import Growth, plan
from neat.model.neat import NeatModel
from support.networks import scatter, whole

Changes = dict[str, object]


def target(old: Config, changes: Changes, init: Changes | None = None) -> Config:
    """`old` with other settings, `section.key` -> value, that grows from it."""
    values = old.model_dump(by_alias=True)
    for key, value in changes.items():
        section, _, name = key.partition(".")
        values[section][name] = value
    values["init"] = {"from": "source"} | (init or {})
    return Config.model_validate(values)


def small(old: Config) -> NeatModel:
    """A float64 network with all parameters away from zero, but without expert vectors, as a base is."""
    model = NeatModel(old).double().eval()
    scatter(model)
    if model.experts is not None:
        with torch.no_grad():
            model.experts.vectors.zero_()
    return model


def grown(model: NeatModel, growth: Growth) -> NeatModel:
    """The larger network, of the type of `model`, in evaluation mode."""
    larger = NeatModel(growth.new).to(next(model.parameters()).dtype).eval()
    live = larger.state_dict()
    with torch.no_grad():
        for name, tensor in growth.weights(model.state_dict(), live):
            live[name].copy_(tensor)
    return larger


def pair(
    shape: Network, changes: Changes, init: Changes | None = None, **sections: Section
) -> tuple[NeatModel, NeatModel, Growth]:
    """A network, what it grows into, and how."""
    old = whole(shape, **sections)
    model, growth = small(old), plan(old, target(old, changes, init))
    return model, grown(model, growth), growth


def apart(left: Tensor, right: Tensor) -> float:
    """The largest difference."""
    return float((left - right).detach().abs().max())
