"""Who updates what, with which values, and a state that goes on where it was left."""

from __future__ import annotations

import pytest
import torch
from support.networks import NETWORKS, network, whole
from support.text import prose, rows

from neat.config.optim import KINDS
from neat.config.schema import Optim
from neat.model.losses import byte_loss
from neat.model.neat import NeatModel
from neat.optim.adamw import AdamW
from neat.optim.build import Optimizers
from neat.optim.groups import group_parameters, kind_of

SHAPE = network(pool="cross_attention", read="cross_attention", decoder_mixer="attention", layers=1, decoder_layers=1)

HIDDEN = {
    "patching.encoder.0.feed_forward.gate_up.weight": (8, 8),
    "patching.encoder.0.feed_forward.down.weight": (8,),
    "patching.decoder.0.attention.qkv.weight": (8, 8, 8),
    "patching.decoder.0.attention.out.weight": (8,),
    "patching.decoder.0.feed_forward.gate_up.weight": (8, 8),
    "patching.decoder.0.feed_forward.down.weight": (8,),
    "patching.pool.query.weight": (16,),
    "patching.pool.key_value.weight": (8, 8),
    "patching.pool.out.weight": (8,),
    "patching.reads.0.query.weight": (8,),
    "patching.reads.0.key_value.weight": (8, 8),
    "patching.reads.0.out.weight": (8,),
    "latent.layers.0.attention.qkv.weight": (16, 16, 16),
    "latent.layers.0.attention.out.weight": (16,),
    "latent.layers.0.feed_forward.gate_up.weight": (24, 24),
    "latent.layers.0.feed_forward.down.weight": (16,),
}
OTHER = {
    "embedding.byte.weight",
    "embedding.ngram.weight",
    "embedding.smear.gate.weight",
    "embedding.smear.scale",
    "patching.encoder.0.convolution.kernel",
    "head.weight",
}


def test_groups_of_a_small_network() -> None:
    groups = group_parameters(NeatModel(whole(SHAPE)))
    assert {matrix.name: matrix.splits for matrix in groups.hidden} == HIDDEN
    assert {name for name, _ in groups.other} == OTHER
    assert [name for name, _ in groups.sparse] == ["embedding.hash.weight"]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_in_exactly_one_group(name: str) -> None:
    model = NeatModel(whole(NETWORKS[name]))
    groups = group_parameters(model)
    grouped = [matrix.parameter for matrix in groups.hidden] + [p for _, p in groups.other + groups.sparse]
    assert sorted(map(id, grouped)) == sorted(map(id, model.parameters()))
    assert all(sum(matrix.splits) == matrix.parameter.shape[0] for matrix in groups.hidden)


def test_adamw_has_the_configured_values() -> None:
    optim = Optim(name="adamw", lr=0.5, adamw_lr=0.003, beta1=0.8, beta2=0.9, eps=1e-6, weight_decay=0.07)
    optimizers = Optimizers(NeatModel(whole(SHAPE)), optim)
    assert isinstance(optimizers._adamw, AdamW)
    other, hidden = optimizers._adamw._adamw.param_groups
    for group, lr, decay, count in ((other, 0.003, 0.0, len(OTHER)), (hidden, 0.5, 0.07, len(HIDDEN))):
        assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.8, 0.9), 1e-6, decay)
        assert (group["base_lr"], len(group["params"])) == (lr, count)


def test_the_table_shows_every_parameter_once_with_its_rate() -> None:
    model = NeatModel(whole(SHAPE))
    for optim in (Optim(name="muon"), Optim(name="adamw")):
        table = Optimizers(model, optim).table()
        assert sum(row.num for row in table) == sum(p.numel() for p in model.parameters())
        assert [row.parameters for row in table] == ["hidden matrices", "embeddings", "head", "vectors", "hash tables"]
        assert [row.lr for row in table] == [1e-2, 5e-3, 5e-3, 5e-3, 5e-3]
        assert [row.weight_decay for row in table] == [0.1, 0, 0, 0, 0]
        assert table[0].details == ("momentum 0.85 to 0.9 (nesterov)" if optim.name == "muon" else table[1].details)
        assert table[1].details == "beta1 0.9, beta2 0.95" and table[-1].details == ""


def gradient(model: NeatModel, seed: int) -> None:
    """A gradient of one small batch."""
    batch = rows(SHAPE, [prose(seed, 8)[:40]], 48)
    byte_loss(model(batch), batch.targets).backward()


def steps(model: NeatModel, optimizers: Optimizers, seeds: range) -> None:
    """One update per seed."""
    for seed in seeds:
        gradient(model, seed)
        optimizers.step(1 / (1 + seed), 0.9)
        optimizers.zero_grad()


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_adamw_equals_torch_on_the_parameters_it_owns(name: str) -> None:
    """The schedule's scale multiplies the rate of every group."""
    torch.manual_seed(0)
    model = NeatModel(whole(SHAPE))
    optimizers = Optimizers(model, Optim(name=name))
    weight = model.embedding.byte.weight
    twin = torch.nn.Parameter(weight.detach().clone())
    reference = torch.optim.AdamW([twin], lr=5e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
    for seed in range(3):
        gradient(model, seed)
        assert weight.grad is not None
        twin.grad = weight.grad.clone()
        reference.param_groups[0]["lr"] = 5e-3 * 0.5**seed
        reference.step()
        optimizers.step(0.5**seed, 0.9)
        optimizers.zero_grad()
    torch.testing.assert_close(weight, twin, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_saved_state_goes_on_bit_for_bit(name: str) -> None:
    optim = Optim(name=name)
    torch.manual_seed(0)
    first = NeatModel(whole(SHAPE))
    optimizers = Optimizers(first, optim)
    steps(first, optimizers, range(3))
    weights = {key: tensor.clone() for key, tensor in first.state_dict().items()}
    saved = {key: tensor.clone() for key, tensor in optimizers.state().items()}

    second = NeatModel(whole(SHAPE))
    resumed = Optimizers(second, optim)
    second.load_state_dict(weights)
    resumed.load(saved)
    steps(first, optimizers, range(3, 6))
    steps(second, resumed, range(3, 6))
    assert all(torch.equal(left, right) for left, right in zip(first.parameters(), second.parameters(), strict=True))
    # The loaded state is not the saved dictionary itself.
    assert not torch.equal(saved["adamw.exp_avg.head.weight"], resumed.state()["adamw.exp_avg.head.weight"])


def test_a_state_from_before_the_first_update_can_be_loaded() -> None:
    """The first steps of a run may all be skipped because of numbers that are not finite."""
    saved = Optimizers(NeatModel(whole(SHAPE)), Optim()).state()
    Optimizers(NeatModel(whole(SHAPE)), Optim()).load(saved)


def test_a_state_of_another_optimizer_is_refused() -> None:
    model = NeatModel(whole(SHAPE))
    muon, adamw = Optimizers(model, Optim(name="muon")), Optimizers(model, Optim(name="adamw"))
    steps(model, adamw, range(1))
    with pytest.raises(KeyError, match="adamw"):
        muon.load(adamw.state())


def test_hash_tables_do_not_count_towards_the_norm() -> None:
    model = NeatModel(whole(SHAPE))
    optimizers = Optimizers(model, Optim())
    gradient(model, 0)
    shapes = sorted(tuple(g.shape) for g in optimizers.dense_gradients())
    table = model.embedding.hash
    assert table is not None
    assert shapes == sorted(tuple(p.shape) for p in model.parameters() if p is not table.weight)
    optimizers.zero_grad()
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_has_a_kind(name: str) -> None:
    model = NeatModel(whole(NETWORKS[name]))
    assert {kind_of(parameter) for parameter, _ in model.named_parameters()} <= set(KINDS)


def test_kinds_follow_the_parts_of_the_network() -> None:
    names = {
        "embedding.byte.weight": "embedding",
        "embedding.hash.weight": "embedding",
        "patching.encoder.0.convolution.kernel": "local",
        "patching.pool.project.weight": "local",
        "latent.layers.3.attention.qkv.weight": "attention",
        "latent.layers.3.feed_forward.down.weight": "feed_forward",
        "latent.layers.0.memory.project.weight": "memory",
        "latent.layers.0.attention.persistent": "memory",
        "latent.injection": "vectors",
        "latent.halting.weight": "vectors",
        "vision.head.codes.weight": "vision",
        "experts.vectors": "experts",
        "head.weight": "head",
    }
    assert {name: kind_of(name) for name in names} == names
    assert set(names.values()) == set(KINDS)
