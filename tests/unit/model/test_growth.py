"""A grown network computes what its source does: in every wiring, with every component, in every direction."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.growing import Changes, apart, grown, pair, target
from support.images import image_rows, vision
from support.networks import NETWORKS, network, whole
from support.text import forward, prose, rows

from neat.config.base import Section
from neat.config.load import load
from neat.config.schema import Config, Expert, Memory, Network, Recursion
from neat.errors import ConfigError
from neat.model.growth.depth import Origin, layers
from neat.model.growth.grow import plan
from neat.model.growth.spread import Spread, spread_weight
from neat.model.layers import rms_norm
from neat.model.losses import byte_loss
from neat.model.neat import NeatModel

TEXTS = [prose(5, 12)[:60], prose(6, 12)[:60]]
EXACT, SINGLE = 1e-9, 1e-4
"""Largest difference of logits in float64 and in float32."""


def more_heads(shape: Network, heads: int) -> Changes:
    """Latent heads of the same width; key-value heads in proportion where that is whole."""
    grouped = shape.kv_heads * heads
    kv_heads = grouped // shape.heads if grouped % shape.heads == 0 else heads
    return {"network.width": 8 * heads, "network.heads": heads, "network.kv_heads": kv_heads}


def expansions(shape: Network) -> dict[str, Changes]:
    """Every direction that the network can grow in, alone and together."""
    local = {"network.local_width": 16, "network.local_heads": 4}
    hidden: Changes = {"network.ffn_width": 41, "network.decoder_ffn_width": 19}
    if shape.encoder_ffn_width:
        hidden["network.encoder_ffn_width"] = 11
    deep: Changes = {"network.layers": 5, "network.encoder_layers": 3, "network.decoder_layers": 4}
    found = {
        "hidden": hidden,
        "width": more_heads(shape, 6),
        "local": local | more_heads(shape, 4),
        "depth": deep,
        "all": local | more_heads(shape, 8) | hidden | deep,
    }
    if shape.hash_orders:
        found["rows"] = {"network.hash_rows": 3 * shape.hash_rows}
    if not shape.patches or (shape.pool, shape.read) == ("last_mean", "add"):
        found["width by half"] = more_heads(shape, 3)
    if shape.patches:
        found["both by half"] = more_heads(shape, 3) | {"network.local_width": 12, "network.local_heads": 3}
    if shape.kv_heads < shape.heads:
        found["groups"] = {"network.kv_heads": shape.heads}
    return found


CASES = [(name, direction) for name, shape in NETWORKS.items() for direction in expansions(shape)]


def logits(model: NeatModel, config: Config) -> torch.Tensor:
    """Of two texts; inputs and hashes are those of the network."""
    return forward(model, rows(config.network, TEXTS, 64))


@pytest.mark.parametrize(("name", "direction"), CASES)
def test_logits_are_those_of_the_source(name: str, direction: str) -> None:
    changes = expansions(NETWORKS[name])[direction]
    model, larger, growth = pair(NETWORKS[name], changes, {"noise": 1.0})
    assert sum(p.numel() for p in larger.parameters()) > sum(p.numel() for p in model.parameters())
    before = logits(model, growth.old)
    difference = apart(logits(larger, growth.new), before)
    assert difference == 0 if direction == "depth" else difference < EXACT
    assert before.std() > 0.1
    assert apart(logits(larger.float(), growth.new), logits(model.float(), growth.old)) < SINGLE


WIDE: Changes = {"network.width": 32, "network.heads": 4, "network.kv_heads": 4, "network.ffn_width": 40}
DEEP: Changes = {"network.layers": 6}
LEVERS = {"qk_gain": 2.0, "kv_conv": 3, "xsa": True, "attention_gate": True}


def memory(variant: str, **changes: object) -> Memory:
    return Memory.model_validate({"variant": variant, "heads": 2, "hidden": 8, "chunk": 4} | changes)


COMPONENTS: dict[str, tuple[Network, Changes, dict[str, Section]]] = {
    **{
        f"memory {variant}": (
            network(layers=3),
            WIDE | DEEP | {"memory.heads": 4},
            {"memory": memory(variant, persistent=2)},
        )
        for variant in ("mag", "mac", "mal", "lmm")
    },
    "memory in more layers": (
        network(layers=3),
        WIDE | DEEP | {"memory.heads": 4, "memory.layers": [2, 3, 4, 6]},
        {"memory": memory("mag", layers=(2, 3))},
    ),
    "levers": (network(**LEVERS), WIDE | DEEP, {}),
    "levers by half": (
        network(**LEVERS, kv_heads=1),
        {"network.width": 24, "network.heads": 3, "network.kv_heads": 3},
        {},
    ),
    "levers, squared": (network(**LEVERS, activation="leaky_relu2"), WIDE | DEEP, {}),
    "levers, cross-attention": (
        network(**LEVERS, pool="cross_attention", read="cross_attention"),
        WIDE | {"network.width": 64, "network.heads": 8, "network.kv_heads": 8},
        {},
    ),
    "skips": (network(unet_skips=True), WIDE, {}),
    "no encoder": (network(encoder_layers=0), WIDE | {"network.encoder_layers": 2}, {}),
    "recursion": (
        network(),
        WIDE | DEEP,
        {"recursion": Recursion.model_validate({"depth": 3, "micro_steps": 2, "supervision": (0.5, 0.5)})},
    ),
    "halting": (network(), WIDE | DEEP, {"recursion": Recursion.model_validate({"depth": 3, "halting": True})}),
    "experts": (network(), WIDE | DEEP, {"expert": Expert.model_validate({"count": 2})}),
}


@pytest.mark.parametrize("name", COMPONENTS)
def test_components_grow_too(name: str) -> None:
    shape, changes, sections = COMPONENTS[name]
    model, larger, growth = pair(shape, changes, {"noise": 1.0}, **sections)
    assert apart(logits(larger, growth.new), logits(model, growth.old)) < EXACT


def test_positions_halt_where_they_did() -> None:
    shape, changes, sections = COMPONENTS["halting"]
    model, larger, growth = pair(shape, changes, **sections)
    depth = model.outputs(rows(growth.old.network, TEXTS, 64)).depth
    assert depth is not None
    assert len(depth.unique()) > 2
    assert torch.equal(depth, larger.outputs(rows(growth.new.network, TEXTS, 64)).depth)


def test_image_codes_are_predicted_as_before() -> None:
    changes = WIDE | DEEP | {"network.local_width": 16, "network.local_heads": 4, "vision.head_ffn_width": 20}
    shape = network(hash_orders=(), ngram_features=False)
    old = whole(shape, vision=vision(head_ffn_width=16))
    model = NeatModel(old).double().eval()  # its palette must stay what it is
    growth = plan(old, target(old, changes))
    larger = grown(model, growth)
    batch = image_rows(shape, [[[b"the ", (0, 1, 2, 3), b" river"]], [[b"a", (4, 4, 0, 1)]]], 24)
    before, after = model.outputs(batch), larger.outputs(batch)
    assert apart(before.logits, after.logits) < EXACT
    assert before.image_logits is not None
    assert after.image_logits is not None
    assert apart(before.image_logits, after.image_logits) < EXACT


def test_what_the_source_lacks_begins_without_effect() -> None:
    bare = network(smear=False, ngram_features=False, hash_orders=(), encoder_ffn_width=0, decoder_ffn_width=0)
    changes: Changes = {
        "network.smear": True, "network.ngram_features": True, "network.hash_orders": (2, 4), "network.hash_rows": 60,
        "network.encoder_ffn_width": 8, "network.decoder_ffn_width": 8, "network.xsa": True, "network.kv_conv": 3,
        "network.attention_gate": True, "memory.variant": "mag", "memory.heads": 4, "memory.hidden": 8,
        "expert.count": 2,
    }  # fmt: skip
    model, larger, growth = pair(bare, WIDE | DEEP | changes)
    assert apart(logits(larger, growth.new), logits(model, growth.old)) < EXACT


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_noise_lets_copies_part_and_changes_nothing_else(noise: float) -> None:
    shape = network()
    _, larger, growth = pair(shape, WIDE, {"noise": noise})
    byte_loss(larger(rows(shape, TEXTS, 64)), rows(shape, TEXTS, 64).targets).backward()
    (block, *_) = larger.latent.layers
    gradient = block.feed_forward.gate_up.weight.grad  # hidden unit 24 is a copy of hidden unit 0
    assert growth.axes.ffn.source[24] == 0
    parted = apart(gradient[24], gradient[0]) / float(gradient[0].abs().max())
    assert parted < 1e-9 if noise == 0 else parted > 0.1


# Without smear and levers all copies are read alike.
CROSSED = NETWORKS["cross_attention-cross_attention-attention-conv"].model_copy(update={"smear": False})
LOCAL: Changes = {"network.kv_heads": 2, "network.local_width": 16, "network.local_heads": 4}
GRADIENTS: dict[str, tuple[Network, Changes, dict[str, Section]]] = {
    name: COMPONENTS[name] for name in ("memory mag", "memory mac", "memory lmm", "skips", "recursion", "experts")
} | {"cross-attention": (CROSSED, WIDE | LOCAL, {})}


@pytest.mark.parametrize("name", GRADIENTS)
def test_mapped_optimizer_state_is_what_the_larger_network_would_have_gathered(name: str) -> None:
    shape, changes, sections = GRADIENTS[name]
    changes = {key: value for key, value in changes.items() if key != "network.layers"}
    model, larger, growth = pair(shape, changes, {"noise": 0.0}, **sections)
    for network_ in (model, larger):
        batch = rows(shape, TEXTS, 64)
        byte_loss(network_(batch), batch.targets).backward()
    parameters = dict(model.named_parameters())
    for parameter, tensor in larger.named_parameters():
        if tensor.grad is None or tensor.grad.is_sparse:
            continue
        for kind, power in (("adamw.exp_avg", 1), ("muon.momentum", 1), ("adamw.exp_avg_sq", 2)):
            state, expected = f"{kind}.{parameter}", tensor.grad**power
            saved = {state: parameters[parameter].grad ** power}
            mapped = growth.optimizer(saved, {state: expected}, parameters)[state]
            assert apart(mapped, expected) < 1e-9 * max(1.0, float(expected.abs().max())), state


def test_row_squares_grow_with_the_width_and_are_shared_among_rows() -> None:
    shape = network()
    changes: Changes = {"network.local_width": 16, "network.local_heads": 4, "network.hash_rows": 194} | WIDE
    model, _, growth = pair(shape, changes)
    name = "row_adagrad.squares.embedding.hash.weight"
    saved = torch.rand(2 * 97, dtype=torch.float64)
    mapped = growth.optimizer(
        {name: saved}, {name: torch.zeros(2 * 194, dtype=torch.float64)}, dict(model.named_parameters())
    )[name]
    # Twice the width halves every gradient; of twice as many rows each is met half as often.
    assert apart(mapped.view(2, 2, 97), saved.view(2, 1, 97) / 4 / 2) < 1e-12


def test_optimizers_forget_new_layers() -> None:
    model, larger, growth = pair(network(), DEEP)
    weight = "latent.layers.{}.attention.qkv.weight"
    live = {f"muon.momentum.{weight.format(i)}": torch.ones(48, 16) for i in range(6)}
    saved = {f"muon.momentum.{weight.format(i)}": torch.full((48, 16), 1.0 + i) for i in range(2)}
    mapped = growth.optimizer(saved, live, dict(model.named_parameters()))
    assert [float(tensor.max()) for tensor in mapped.values()] == [1, 0, 0, 2, 0, 0]
    assert float(larger.latent.layers[1].attention.out.weight.detach().abs().max()) == 0
    with pytest.raises(ConfigError, match=r"remember no adamw\.exp_avg of head\.weight"):
        growth.optimizer(saved, {"adamw.exp_avg.head.weight": torch.ones(256, 8)}, dict(model.named_parameters()))


@pytest.mark.parametrize(
    ("method", "sources"),
    [("stack", [0, 1, 2, 0, 1]), ("copy", [0, 0, 1, 1, 2]), ("preserve", [0, -1, 1, -1, 2])],
)
def test_layers_come_from_where_the_method_says(method: str, sources: list[int]) -> None:
    found = layers(["off"] * 3, ["off"] * 5, method)
    assert found is not None
    assert [-1 if origin.new else origin.source for origin in found] == sources
    model, larger, _ = pair(network(layers=3), {"network.layers": 5}, {"method": method})
    for layer, origin in enumerate(found):
        ours, theirs = larger.latent.layers[layer], model.latent.layers[origin.source]
        assert torch.equal(ours.attention.qkv.weight, theirs.attention.qkv.weight)
        assert torch.equal(ours.feed_forward.down.weight, theirs.feed_forward.down.weight) != origin.new


@pytest.mark.parametrize(("method", "pairs"), [("stack", [0, 1, 0, 1]), ("copy", [0, 0, 1, 1])])
def test_skips_follow_their_layers(method: str, pairs: list[int]) -> None:
    shape = network(layers=4, unet_skips=True)
    model, larger, growth = pair(shape, {"network.layers": 8}, {"method": method})
    assert torch.equal(larger.latent.skips, model.latent.skips[pairs])
    name, saved = "adamw.exp_avg.latent.skips", torch.rand(2, 16, dtype=torch.float64)
    live = {name: torch.zeros(4, 16, dtype=torch.float64)}
    mapped = growth.optimizer({name: saved}, live, dict(model.named_parameters()))[name]
    assert torch.equal(mapped, saved[pairs])


def test_stacked_layers_change_the_function() -> None:
    model, larger, growth = pair(network(), DEEP, {"method": "stack"})
    assert apart(logits(larger, growth.new), logits(model, growth.old)) > 0.1


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.lists(st.booleans(), min_size=1, max_size=12))
def test_layers_keep_their_order_and_their_memories(old: list[bool], new: list[bool]) -> None:
    before, after = (["mac" if remembers else "off" for remembers in stack] for stack in (old, new))
    found = layers(before, after, "preserve")
    rest = iter(after)
    assert (found is not None) == all(kind in rest for kind in before)
    if found is not None:
        kept = [(origin.source, after[place]) for place, origin in enumerate(found) if not origin.new]
        assert kept == list(enumerate(before))


def test_a_layer_may_gain_a_memory_that_adds() -> None:
    found = layers(["off", "mag"], ["mag", "mag", "mag"], "preserve")
    assert found == [Origin(0, False), Origin(1, True), Origin(1, False)]
    found = layers(["off", "mag"], ["mag", "off", "mag"], "preserve")
    assert found == [Origin(1, True), Origin(0, False), Origin(1, False)]
    assert layers(["off", "mac"], ["mac", "mac"], "preserve") is None
    assert layers(["mag", "off"], ["off", "mag"], "stack") is not None


@given(st.integers(1, 12), st.integers(0, 12))
def test_norms_see_the_same_mean_square(old: int, more: int) -> None:
    spread = Spread.residual(old, old + more)
    x = torch.randn(3, old, dtype=torch.float64, generator=torch.Generator().manual_seed(old))
    wide = spread_weight(x, (None, spread.write()))
    assert apart(rms_norm(wide), spread_weight(rms_norm(x), (None, spread.write()))) < 1e-12
    reader = torch.randn(5, old, dtype=torch.float64, generator=torch.Generator().manual_seed(more))
    assert apart(wide @ spread_weight(reader, (None, spread.read())).T, x @ reader.T) < 1e-12


def test_three_sizes_grow_out_of_each_other() -> None:
    """The larger ones are those of docs/growth.md; only their shapes are looked at."""
    second = [
        *("network.width=1536", "network.heads=24", "network.kv_heads=12", "network.ffn_width=2816"),
        *("network.local_width=512", "network.local_heads=8", "memory.heads=24", "network.encoder_ffn_width=1408"),
        *("network.decoder_ffn_width=1408", "init.from=first"),
    ]
    third = [*second[:-1], "network.layers=30", "network.ffn_width=4096", "init.from=second"]
    configs = [load("100m", settings).config for settings in ([], second, third)]
    sizes = []
    for old, new in pairwise(configs):
        growth = plan(old, new)
        with torch.device("meta"):
            source, larger = NeatModel(old), NeatModel(new)
        sizes.append(sum(p.numel() for p in larger.parameters()))
        for name, tensor in larger.named_parameters():
            origin, _ = growth.origin(name)
            if not name.startswith(("experts.", "vision.codec.", "embedding.hash")):
                was = source.get_parameter(origin)
                lines = growth.lines(name, was)[0]
                sizes_now = [len(line.source) if line else was.shape[dim] for dim, line in enumerate(lines)]
                assert sizes_now == list(tensor.shape), name
    assert [round(size / 1e6) for size in sizes] == [367, 1020]
