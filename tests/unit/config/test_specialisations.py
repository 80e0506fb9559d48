"""The three specialisations are of one size and differ in what their names say."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import pytest
import torch
from unit.config.test_every_key import PROBES, Probe

from neat.config.base import field_name
from neat.config.load import load
from neat.config.schema import Config, settings
from neat.model.neat import NeatModel
from neat.profiling import flops

NAMES = ("reasoning", "memory", "speed")


@cache
def preset(name: str) -> Config:
    return load(name).config


def value(config: Config, key: str) -> object:
    section, _, field = key.rpartition(".")
    part = getattr(config, section) if section else config
    return getattr(part, field_name(type(part), field))


@pytest.mark.parametrize("name", NAMES)
def test_each_has_25_million_parameters(name: str) -> None:
    with torch.device("meta"):
        model = NeatModel(preset(name))
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(25e6, rel=0.05)


@pytest.mark.parametrize("pair", list(combinations(NAMES, 2)), ids="-".join)
def test_every_key_in_which_two_differ_changes_what_a_run_does(pair: tuple[str, str]) -> None:
    """The probe of each key (see `test_every_key.py`) sees its effect on a run."""
    one, other = (preset(name) for name in pair)
    differing = [key for key in settings() if value(one, key) != value(other, key)]
    assert len(differing) > 10
    assert [key for key in differing if not isinstance(PROBES[key], Probe)] == []


def test_speed_computes_least_and_reasoning_most() -> None:
    cost = {name: flops.forward_per_byte(preset(name), 2048) for name in NAMES}
    assert cost["speed"] < 0.6 * cost["memory"] < cost["reasoning"]


def test_memory_alone_reaches_beyond_its_attention() -> None:
    reach = {name: preset(name).network.window for name in NAMES}
    assert preset("memory").memory.on and reach["memory"] == min(reach.values())
    assert not preset("reasoning").memory.on and not preset("speed").memory.on
    patches = preset("memory").train.window / preset("memory").patcher.mean_length
    assert patches > 10 * reach["memory"]


def test_reasoning_alone_goes_over_its_state_again() -> None:
    depth = {name: preset(name).recursion.depth for name in NAMES}
    assert depth == {"reasoning": 4, "memory": 1, "speed": 1}
    assert preset("reasoning").recursion.halting
    assert preset("reasoning").patcher.mean_length < preset("memory").patcher.mean_length
    assert preset("memory").patcher.mean_length < preset("speed").patcher.mean_length
