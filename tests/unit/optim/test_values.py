"""Every value of the configuration reaches the optimizer it is meant for, and one that does not stops the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.networks import network, whole
from support.text import prose, rows

from neat.config.schema import Optim
from neat.errors import ConfigError
from neat.model.losses import byte_loss
from neat.model.neat import NeatModel
from neat.optim.adamw import AdamW
from neat.optim.averaging import AveragedAdamW
from neat.optim.build import Optimizers
from neat.optim.values import Values, verify

SHAPE = network(pool="cross_attention", layers=1, decoder_layers=1)
MATRIX, EMBEDDING, HEAD = "latent.layers.0.attention.out.weight", "embedding.byte.weight", "head.weight"
VECTOR, LOCAL, TABLE = "patching.encoder.0.convolution.kernel", "patching.pool.out.weight", "embedding.hash.weight"


def model() -> NeatModel:
    torch.manual_seed(0)
    return NeatModel(whole(SHAPE))


CASES: list[tuple[dict[str, Any], str, Callable[[Values], object], object]] = [
    ({"lr": 0.3}, MATRIX, lambda v: v.lr, 0.3),
    ({"lr": 0.3, "name": "adamw"}, MATRIX, lambda v: v.lr, 0.3),
    ({"weight_decay": 0.3}, MATRIX, lambda v: v.weight_decay, 0.3),
    ({"weight_decay": 0.3, "name": "adamw"}, MATRIX, lambda v: v.weight_decay, 0.3),
    ({"weight_decay": 0.3}, EMBEDDING, lambda v: v.weight_decay, 0.0),
    ({"adamw_lr": 0.3}, EMBEDDING, lambda v: v.lr, 0.3),
    ({"adamw_lr": 0.3}, HEAD, lambda v: v.lr, 0.3),
    ({"adamw_lr": 0.3}, VECTOR, lambda v: v.lr, 0.3),
    ({"embedding_lr": 0.3}, EMBEDDING, lambda v: v.lr, 0.3),
    ({"embedding_lr": 0.3}, HEAD, lambda v: v.lr, 5e-3),
    ({"head_lr": 0.3}, HEAD, lambda v: v.lr, 0.3),
    ({"head_lr": 0.3}, VECTOR, lambda v: v.lr, 5e-3),
    ({"hash_lr": 0.3}, TABLE, lambda v: v.lr, 0.3),
    ({"beta1": 0.3}, HEAD, lambda v: v.betas, (0.3, 0.95)),
    ({"beta2": 0.3}, HEAD, lambda v: v.betas, (0.9, 0.3)),
    ({"eps": 0.3}, HEAD, lambda v: v.eps, 0.3),
    ({"lr_scale": [["latent", 0.5]]}, MATRIX, lambda v: v.lr, 5e-3),
    ({"lr_scale": [["latent", 0.5]]}, LOCAL, lambda v: v.lr, 1e-2),
    ({"lr_scale": [["local", 0.5]]}, LOCAL, lambda v: v.lr, 5e-3),
    ({"lr_scale": [["local", 0.5]]}, VECTOR, lambda v: v.lr, 2.5e-3),
    ({"lr_scale": [["attention", 2.0]], "name": "adamw"}, MATRIX, lambda v: v.lr, 2e-2),
    ({"lr_scale": [["embedding", 0.5]]}, TABLE, lambda v: v.lr, 2.5e-3),
    ({"lr_scale": [["embedding", 0.5], ["head", 3.0]], "embedding_lr": 1.0}, EMBEDDING, lambda v: v.lr, 0.5),
    ({"lr_scale": [["embedding", 0.5], ["head", 3.0]], "head_lr": 1.0}, HEAD, lambda v: v.lr, 3.0),
    ({"name": "gpa", "ema_decay": 0.0, "gpa_mu_x": 0.3}, MATRIX, lambda v: v.betas, (0.3, 0.8, 0.95)),
    ({"name": "gpa", "ema_decay": 0.0, "gpa_mu_y": 0.3}, HEAD, lambda v: v.betas, (0.9, 0.3, 0.95)),
    (
        {"name": "schedule_free", "ema_decay": 0.0, "schedule": "constant", "beta1": 0.7},
        MATRIX,
        lambda v: (v.optimizer, v.betas, v.weight_decay),
        ("schedule-free adamw", (0.7, 0.95), 0.1),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "name", "part", "expected"), CASES)
def test_a_value_arrives(
    changes: dict[str, Any], name: str, part: Callable[[Values], object], expected: object
) -> None:
    assert part(Optimizers(model(), Optim.model_validate(changes)).values[name]) == expected


def test_a_value_that_does_not_arrive_is_noticed() -> None:
    optimizers = Optimizers(model(), Optim())
    plan = dict(optimizers.values)
    verify(plan, optimizers._values())
    assert isinstance(optimizers._adamw, AdamW) and optimizers._muon is not None
    optimizers._adamw._adamw.param_groups[0]["base_lr"] = 1.0
    with pytest.raises(RuntimeError, match=r"lr=1\.0.*the configuration says.*lr=0\.005"):
        verify(plan, optimizers._values())
    with pytest.raises(RuntimeError, match="is updated with None"):
        verify(plan, {name: value for name, value in plan.items() if name != HEAD})
    with pytest.raises(RuntimeError, match="the configuration says None"):
        verify({name: value for name, value in plan.items() if name != HEAD}, plan)
    optimizers = Optimizers(model(), Optim())
    assert optimizers._muon is not None
    optimizers._muon.weight_decay = 0.0
    with pytest.raises(RuntimeError, match=r"weight_decay=0\.0"):
        verify(plan, optimizers._values())


def test_a_part_that_the_network_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match="names memory, of which this network trains nothing") as caught:
        Optimizers(model(), Optim(lr_scale=(("memory", 0.5),)))
    assert "attention, embedding, feed_forward, head, local" in str(caught.value.hint)
    with pytest.raises(ConfigError, match=r"trained with expert\.lr"):
        Optimizers(model(), Optim(lr_scale=(("experts", 0.5),)))


@pytest.mark.parametrize("name", ["muon", "adamw", "gpa"])
def test_a_factor_scales_the_first_update_of_its_part_alone(name: str) -> None:
    """Weight decay is per unit of learning rate, so all of the move is scaled; 0 freezes."""
    moves = []
    for factor in (1.0, 0.5, 0.0):
        changes = {"ema_decay": 0.0} if name == "gpa" else {}
        optim = Optim.model_validate({"name": name, "lr_scale": [["latent", factor]], **changes})
        net = model()
        start = {key: parameter.detach().clone() for key, parameter in net.named_parameters()}
        optimizers = Optimizers(net, optim)
        batch = rows(SHAPE, [prose(0, 8)[:40]], 48)
        byte_loss(net(batch), batch.targets).backward()
        optimizers.step(1.0, 0.9)
        moves.append({key: parameter.detach() - start[key] for key, parameter in net.named_parameters()})
    whole_move, half, none = moves
    assert float(whole_move[MATRIX].norm()) > 0
    torch.testing.assert_close(half[MATRIX], whole_move[MATRIX] / 2, rtol=1e-4, atol=1e-7)
    assert float(none[MATRIX].abs().max()) < 1e-7
    assert torch.equal(half[LOCAL], whole_move[LOCAL])


def test_scaled_parts_have_rows_of_their_own() -> None:
    table = Optimizers(model(), Optim(lr_scale=(("attention", 0.5), ("embedding", 2.0)))).table()
    found = {row.parameters: row.lr for row in table}
    assert found == {
        "hidden matrices": 1e-2,
        "hidden matrices (attention)": 5e-3,
        "embeddings (embedding)": 1e-2,
        "head": 5e-3,
        "vectors": 5e-3,
        "vectors (embedding)": 1e-2,
        "hash tables (embedding)": 1e-2,
    }


def test_details_tell_of_filter_and_outer_steps() -> None:
    optim = Optim(name="mugrokfast", grokfast_lambda=0.02, outer="snoo")
    for row in Optimizers(model(), optim).table()[:-1]:
        assert row.details.endswith("grokfast 0.02 (alpha 0.98), snoo every 20 (lr 0.7, momentum 0.5)")


def test_the_average_is_told_by_the_optimizer() -> None:
    assert Optimizers(model(), Optim()).averaged is None
    assert isinstance(Optimizers(model(), Optim(name="gpa", ema_decay=0.0)).averaged, AveragedAdamW)
