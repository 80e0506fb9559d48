"""No switch is dead: each one changes the parameters of the network or the gradients of those it shares."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.networks import network, scatter, whole
from support.text import prose, rows

from neat.config.schema import Config, Memory, Network, Recursion, Vision
from neat.model.losses import objective
from neat.model.neat import NeatModel

TEXT = prose(5, 12)[:60]
MEMORY = {"variant": "mag", "heads": 2, "hidden": 4, "chunk": 4, "layers": (1,)}

NETWORK: dict[str, Any] = {
    "qk_norm": False, "smear": False, "ngram_features": False, "hash_orders": (), "pool": "cross_attention",
    "read": "cross_attention", "encoder_mixer": "attention", "decoder_mixer": "attention", "window": 3,
    "xsa": True, "attention_gate": True, "unet_skips": True, "activation": "leaky_relu2", "qk_gain": 2.0,
    "rope_share": 0.5, "kv_conv": 3, "patches": False,
}  # fmt: skip
MEMORIES: dict[str, Any] = {
    "variant": "off", "variant ": "mac", "variant  ": "mal", "variant   ": "lmm", "persistent": 3, "gram": False,
    "clip": 0.01, "surprise_threshold": 1.0, "chunk": 1, "conv_taps": 2, "max_rate": 0.1,
}  # fmt: skip
RECURSIONS: dict[str, Any] = {
    "depth": 1, "supervision": (0.5,), "halting": True, "micro_steps": 2
}  # fmt: skip


def observed(config: Config) -> dict[str, torch.Tensor]:
    """Gradients by name, of a network whose every parameter is away from zero."""
    model = NeatModel(config).double()
    scatter(model)
    batch = rows(config.network, [TEXT], 64)
    total, _ = objective(model.outputs(batch), batch, config)
    total.backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.to_dense()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def check(before: Config, after: Config) -> None:
    one, other = observed(before), observed(after)
    if one.keys() == other.keys() and all(one[name].shape == other[name].shape for name in one):
        assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("key", NETWORK)
def test_a_switch_of_the_network(key: str) -> None:
    shape = network(layers=3)
    check(whole(shape), whole(Network.model_validate(shape.model_dump() | {key: NETWORK[key]})))


@pytest.mark.parametrize("key", MEMORIES)
def test_a_switch_of_the_memory(key: str) -> None:
    changed = Memory.model_validate(MEMORY | {key.strip(): MEMORIES[key]})
    check(whole(network(), memory=Memory.model_validate(MEMORY)), whole(network(), memory=changed))


@pytest.mark.parametrize("key", RECURSIONS)
def test_a_switch_of_recursion(key: str) -> None:
    changed = Recursion.model_validate({"depth": 2} | {key: RECURSIONS[key]})
    check(whole(network(), recursion=Recursion(depth=2)), whole(network(), recursion=changed))


def test_images_are_a_switch() -> None:
    vision = Vision.model_validate({"on": True, "codec": "palette:8", "codes": 8, "grid": 3, "image_size": 24})
    before, after = whole(network()), whole(network(), vision=vision)
    assert {n for n, _ in NeatModel(after).named_parameters()} > {n for n, _ in NeatModel(before).named_parameters()}


def test_the_check_can_fail() -> None:
    with pytest.raises(AssertionError):
        check(whole(network()), whole(network()))
