"""Small networks grown into larger ones."""

from __future__ import annotations

import torch
from torch import Tensor

from neat.config.base import Section
from neat.config.init import Init
from neat.config.schema import Config, Network
from neat.model.growth.grow import Growth, plan
from neat.model.neat import NeatModel
from support.networks import scatter, whole


def target(old: Config, changes: dict[str, object], init: dict[str, object] | None = None) -> Config:
    """`old` with other settings: `section.key` -> value."""
    values = old.model_dump(by_alias=True)
    for key, value in changes.items():
        section, _, name = key.partition(".")
        values[section][name] = value
    values["init"] = {"from": "source"} | (init or {})
    return Config.model_validate(values)


def grown(model: NeatModel, growth: Growth) -> NeatModel:
    """The larger network, of the type of `model`, in evaluation mode."""
    larger = NeatModel(growth.new).to(next(model.parameters()).dtype).eval()
    live = larger.state_dict()
    with torch.no_grad():
        for name, tensor in growth.weights(model.state_dict(), live).items():
            live[name].copy_(tensor)
    return larger


def pair(
    shape: Network,
    changes: dict[str, object],
    init: dict[str, object] | None = None,
    **sections: Section,
) -> tuple[NeatModel, NeatModel]:
    """A network with all parameters away from zero, and what it grows into; float64."""
    old = whole(shape, **sections)
    model = NeatModel(old).double().eval()
    scatter(model)
    without_experts(model)
    return model, grown(model, plan(old, target(old, changes, init)))


def without_experts(model: NeatModel) -> None:
    """A base has no expert vectors."""
    if model.experts is not None:
        with torch.no_grad():
            model.experts.vectors.zero_()


def largest_difference(left: Tensor, right: Tensor) -> float:
    return float((left - right).abs().max())


__all__ = ["Init", "grown", "largest_difference", "pair", "target", "without_experts"]
