"""Networks of a few hundred parameters that between them use every switch of the configuration."""

from __future__ import annotations

from itertools import product

import torch
from torch import nn

from neat.config.base import Section
from neat.config.schema import Config, Network, Patcher
from neat.model.neat import NeatModel

MAX_PATCH = 8
"""Longest patch of the test patchers, in bytes."""


def network(**changes: object) -> Network:
    """The smallest network with every input switched on, changed where a test needs it."""
    base: dict[str, object] = {
        "width": 16,
        "layers": 2,
        "heads": 2,
        "kv_heads": 2,
        "ffn_width": 24,
        "local_width": 8,
        "local_heads": 2,
        "local_window": 64,
        "encoder_ffn_width": 8,
        "decoder_ffn_width": 8,
        "hash_orders": (2, 4),
        "hash_rows": 97,
    }
    return Network.model_validate(base | changes)


def whole(shape: Network, max_patch: int = MAX_PATCH, **sections: Section) -> Config:
    """The configuration of a test network: its shape, its longest patch, and other sections where a test needs them."""
    return Config.model_validate({"network": shape, "patcher": Patcher(max_length=max_patch), **sections})


def _every_wiring() -> dict[str, Network]:
    found = {}
    choices = product(("last_mean", "cross_attention"), ("add", "cross_attention"), ("conv", "attention"), repeat=1)
    for number, (pool, read, encoder) in enumerate(choices):
        for decoder in ("conv", "attention"):
            # The switches that every wiring shares alternate, so that each meets each wiring's neighbours.
            turn = 2 * number + (decoder == "attention")
            name = f"{pool}-{read}-{encoder}-{decoder}"
            found[name] = network(
                pool=pool,
                read=read,
                encoder_mixer=encoder,
                decoder_mixer=decoder,
                kv_heads=1 + turn % 2,
                window=(0, 3)[turn // 2 % 2],
                local_window=(64, 5)[number % 2],
                hash_orders=((2, 4), ())[turn % 3 == 2],
                smear=turn % 4 != 3,
                ngram_features=turn % 5 != 4,
                qk_norm=turn % 7 != 6,
                encoder_ffn_width=(8, 0)[turn // 4 % 2],
            )
    return found


PATCHED = _every_wiring()
FLAT = {
    "flat": network(patches=False),
    "flat-windowed-grouped": network(patches=False, window=5, kv_heads=1, hash_orders=(), smear=False),
}
NETWORKS = PATCHED | FLAT


def scatter(module: nn.Module, seed: int = 0, std: float = 0.4) -> None:
    """Gives every parameter random values, those that start at zero included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * std)


def scattered(shape: Network, seed: int = 0, **sections: Section) -> NeatModel:
    """A float64 model in evaluation mode whose parameters are all away from zero."""
    model = NeatModel(whole(shape, **sections)).double().eval()
    scatter(model, seed)
    return model
