"""Off is exact: the parameters are gone, and the result is that of the part present but without effect."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.networks import network, scattered, whole
from support.text import close, forward, prose, rows

from neat.config.schema import Network
from neat.model.neat import NeatModel

TEXT = prose(5, 12)[:60]

# Switch off, the parameters that must go, and the one that has the same effect at zero.
SWITCHES: dict[str, tuple[dict[str, Any], str, str]] = {
    "smear": ({"smear": False}, "embedding.smear.", "embedding.smear.scale"),
    "hash": ({"hash_orders": ()}, "embedding.hash.", "embedding.hash.weight"),
    "ngram_features": ({"ngram_features": False}, "embedding.ngram.", "embedding.ngram.weight"),
    "encoder feed-forward": (
        {"encoder_ffn_width": 0},
        "patching.encoder.0.feed_forward.",
        "patching.encoder.0.feed_forward.down.weight",
    ),
}


CASES = [(name, True) for name in SWITCHES] + [("smear", False), ("hash", False), ("ngram_features", False)]


@pytest.mark.parametrize(("name", "patches"), CASES)
def test_off_equals_on_without_effect(name: str, patches: bool) -> None:
    change, gone, neutral = SWITCHES[name]
    shape = network(patches=patches)
    model = scattered(shape)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        weights[neutral].zero_()
    on = forward(model, rows(shape, [TEXT], 64))
    off_shape = Network.model_validate(shape.model_dump() | change)
    off = NeatModel(whole(off_shape)).double()
    kept = {key: value for key, value in weights.items() if not key.startswith(gone)}
    assert kept.keys() == dict(off.named_parameters()).keys()
    off.load_state_dict(kept)
    assert torch.equal(forward(off, rows(off_shape, [TEXT], 64)), on)


def test_a_flat_network_has_no_local_parts() -> None:
    names = [name for name, _ in NeatModel(whole(network(patches=False))).named_parameters()]
    assert not [name for name in names if name.startswith("patching")]


def test_a_window_as_long_as_the_row_is_no_window() -> None:
    full = scattered(network(window=0))
    windowed = NeatModel(whole(network(window=65))).double()
    windowed.load_state_dict(full.state_dict())
    batch = rows(network(), [TEXT], 64)
    assert torch.equal(forward(windowed, batch), forward(full, batch))


def test_the_latent_window_limits_what_a_flat_network_sees() -> None:
    shape = network(patches=False, layers=1, window=5, smear=False, hash_orders=(), ngram_features=False)
    model = scattered(shape)
    changed = bytes([TEXT[0] ^ 1]) + TEXT[1:]
    one, other = forward(model, rows(shape, [TEXT, changed], 64, "byte"))
    # Byte 0 is the input of position 1; five positions see it.
    moved = (one != other).any(-1).nonzero().flatten().tolist()
    assert moved == [1, 2, 3, 4, 5]


def test_grouped_heads_equal_full_heads_with_repeated_weights() -> None:
    grouped = scattered(network(kv_heads=1))
    full = NeatModel(whole(network(kv_heads=2))).double()
    weights = dict(grouped.state_dict())
    for name, tensor in weights.items():
        if name.startswith("latent") and name.endswith("qkv.weight"):
            query, key, value = tensor.split((16, 8, 8))
            weights[name] = torch.cat((query, key, key, value, value))
    full.load_state_dict(weights)
    batch = rows(network(), [TEXT], 64)
    assert close(forward(full, batch), forward(grouped, batch))
