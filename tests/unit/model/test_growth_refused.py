"""What growth refuses, and why: every reason names a setting and says what to do."""

from __future__ import annotations

import pytest
import torch
from support.growing import Changes, grown, small, target
from support.networks import network, whole

from neat.config.base import Section
from neat.config.schema import Memory
from neat.errors import CheckpointError, ConfigError
from neat.model.growth.grow import plan
from neat.model.neat import NeatModel

WIDE: Changes = {"network.width": 32, "network.heads": 4, "network.kv_heads": 4}
MEMORY = Memory.model_validate({"variant": "mag", "heads": 2, "hidden": 8, "chunk": 4})

REFUSED: dict[str, tuple[Changes, Changes, str]] = {
    "width": ({"network.width": 8, "network.heads": 1, "network.kv_heads": 1}, {}, r"network\.width is 8.*not shrink"),
    "layers": ({"network.layers": 1}, {}, r"network\.layers is 1, 2 in the source"),
    "head width": ({"network.width": 32}, {}, r"network\.heads is 2, which leaves heads of width 16"),
    "local head width": ({"network.local_width": 16}, {"decoder_mixer": "attention"}, r"network\.local_heads is 2"),
    "rows": ({"network.hash_rows": 100}, {}, r"network\.hash_rows is 100, no multiple"),
    "switched off": ({"network.smear": False}, {}, r"network\.smear is false, true in the source"),
    "another part": ({"network.read": "cross_attention"}, {}, r"network\.read"),
    "vocabulary": ({"vision.on": True, "vision.grid": 2}, {}, r"vision\.on is true, false in the source: .*vocabulary"),
    "pooled": (
        WIDE | {"network.width": 24, "network.heads": 3, "network.kv_heads": 3}, {"pool": "cross_attention"},
        r"network\.width is 3 times network\.local_width"),
    "skips": ({"network.layers": 4}, {"unet_skips": True}, r"network\.unet_skips"),
    "gate": (
        WIDE | {"network.local_width": 16, "network.local_heads": 4},
        {"pool": "cross_attention", "attention_gate": True}, r"network\.local_width is 16"),
    "memory heads": (WIDE, {"memory": MEMORY}, r"memory\.heads is 2, which leaves heads of width 16"),
    "memory layers": (
        {"network.layers": 3, "memory.layers": [1]}, {"memory": MEMORY}, r"memory\.layers"),
    "memory size": ({"memory.hidden": 16}, {"memory": MEMORY}, r"memory\.hidden is 16, 8 in the source"),
    "recursion": ({"recursion.depth": 2}, {}, r"recursion\.depth is 2"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_grow_is_refused_by_name(name: str) -> None:
    changes, shape, message = REFUSED[name]
    sections = {key: value for key, value in shape.items() if isinstance(value, Section)}
    old = whole(network(**{key: value for key, value in shape.items() if key not in sections}), **sections)
    with pytest.raises(ConfigError, match=message) as raised:
        plan(old, target(old, changes))
    assert all(problem.hint for problem in raised.value.problems)


def test_query_heads_without_a_place_are_refused() -> None:
    old = whole(network(width=64, heads=8, kv_heads=2))
    with pytest.raises(ConfigError, match=r"network\.kv_heads is 3 for 9 heads"):
        plan(old, target(old, {"network.width": 72, "network.heads": 9, "network.kv_heads": 3}))


def test_exact_allows_no_growth() -> None:
    old = whole(network())
    with pytest.raises(ConfigError, match=r"network\.ffn_width is 30, 24 in the source, and init\.method is exact"):
        plan(old, target(old, {"network.ffn_width": 30}, {"method": "exact"}))
    model = small(old)
    same = grown(model, plan(old, target(old, {"network.window": 7}, {"method": "exact"})))
    assert all(torch.equal(tensor, same.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert plan(old, target(old, {"network.window": 7})).changes == ("network.window",)


def test_weights_that_do_not_fit_their_configuration_are_refused() -> None:
    old = whole(network())
    model, growth = small(old), plan(old, target(old, WIDE))
    live = NeatModel(growth.new).state_dict()
    tensors = dict(model.state_dict())
    del tensors["head.weight"]
    with pytest.raises(CheckpointError, match=r"the source has no head\.weight"):
        dict(growth.weights(tensors, live))
