"""The memory in the network: who sees what, what is exact when it is off, and that it stays bounded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.networks import network, scatter, scattered, whole
from support.text import close, forward, noise, packed, prose, rows
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from neat.config.load import load
from neat.config.memory import Memory as Settings
from neat.config.schema import Network
from neat.errors import ConfigError
from neat.model.attention import make_span
from neat.model.cache import leaves
from neat.model.init import initialise
from neat.model.latent import LatentBlock
from neat.model.losses import byte_loss
from neat.model.memory.module import Memory, make_recall
from neat.model.neat import NeatModel
from neat.profiling.plan import plan

TEXT = prose(5, 12)[:60]
VARIANTS = ("mag", "mal", "mac", "lmm")
SHAPES = {
    "patches": network(window=3),
    "flat": network(patches=False, window=5, kv_heads=1),
    "whole row": network(patches=False, pool="last_mean"),
}


def settings(**changes: Any) -> Settings:
    base: dict[str, Any] = {"variant": "mag", "layers": (1, 2), "heads": 2, "hidden": 6, "chunk": 4}
    # Persistent pairs need a layer with attention.
    base["persistent"] = 0 if changes.get("variant") == "lmm" else 2
    return Settings.model_validate(base | changes)


def memory_alone(width: int = 16, **changes: Any) -> Memory:
    torch.manual_seed(0)
    memory = Memory(whole(network(width=width), memory=settings(**changes)))
    initialise(nn.ModuleDict({"memory": memory}))
    return memory


def apply(memory: Memory, x: Tensor, document: Tensor | None = None) -> Tensor:
    document = torch.zeros(x.shape[:2], dtype=torch.int32) if document is None else document
    found: Tensor = memory(x, make_recall(document, memory.settings, x.dtype))
    return found


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_later_bytes_change_no_earlier_prediction(variant: str, shape: Network) -> None:
    model = scattered(shape, memory=settings(variant=variant))
    cuts = [0, 1, 5, 17, 18, 31]
    texts = [TEXT] + [TEXT[:cut] + noise(cut, 60 - cut) for cut in cuts]
    logits = forward(model, rows(shape, texts, 64, "space" if shape.patches else "byte"))
    for row, cut in enumerate(cuts, start=1):
        assert torch.equal(logits[row, : cut + 1], logits[0, : cut + 1]), cut
        assert not close(logits[row, cut + 1 : 60], logits[0, cut + 1 : 60], 1e-3), cut


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_layer_sees_its_own_past_only(variant: str) -> None:
    """Of one latent layer: every position from the changed one to the end of its document moves, and no other."""
    block = LatentBlock(whole(network(), memory=settings(variant=variant)), 0).double()
    scatter(block)
    document = torch.tensor([[0] * 7 + [1] * 9 + [-1] * 4])
    span = make_span(document, 3, 8, 100.0, persistent=block.memory.settings.persistent)
    recall = make_recall(document, block.memory.settings, torch.float64)
    x = torch.randn(1, 20, 16, dtype=torch.float64)
    with torch.no_grad():
        before = block(x, span, recall)
        for at in range(16):
            changed = x.clone()
            changed[0, at] += torch.randn(16, dtype=torch.float64)
            moved = (block(changed, span, recall) != before).any(-1)[0].nonzero().flatten().tolist()
            assert moved == [i for i in range(at, 20) if document[0, i] == document[0, at]], at


@pytest.mark.parametrize("variant", ["off", "mag", "mal", "mac"])
def test_only_a_memory_carries_what_left_the_window(variant: str) -> None:
    shape = network(patches=False, layers=2, window=5, smear=False, hash_orders=(), ngram_features=False)
    model = scattered(shape, memory=settings(variant=variant) if variant != "off" else Settings())
    changed = bytes([TEXT[0] ^ 1]) + TEXT[1:]
    one, other = forward(model, rows(shape, [TEXT, changed], 64, "byte"))
    moved = (one != other).any(-1)[:60].nonzero().flatten().tolist()
    assert moved == (list(range(1, 10)) if variant == "off" else list(range(1, 60)))


@pytest.mark.parametrize("variant", ["mag", "mal"])
def test_a_fresh_memory_adds_nothing_bit_for_bit(variant: str) -> None:
    shape = network(window=3)
    model = NeatModel(whole(shape, memory=settings(variant=variant, persistent=0)))
    off = NeatModel(whole(shape))
    kept = {name: tensor for name, tensor in model.state_dict().items() if ".memory." not in name}
    assert kept.keys() == off.state_dict().keys() and len(kept) < len(model.state_dict())
    off.load_state_dict(kept)
    batch = rows(shape, [TEXT], 64)
    assert torch.equal(forward(model, batch), forward(off, batch))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_fresh_memory_learns_from_the_first_step(variant: str) -> None:
    """Zero in front of the residual stream must not mean that nothing behind it ever moves."""
    shape = network(window=3, hash_orders=())
    torch.manual_seed(0)
    model = NeatModel(whole(shape, memory=settings(variant=variant, chunk=16)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    batch = rows(shape, [prose(seed, 12)[:30] for seed in range(2)], 32)
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    losses = []
    for _ in range(20):
        loss = byte_loss(model(batch), batch.targets) / 60
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.5
    still = [name for name, p in model.named_parameters() if "memory" in name and torch.equal(p, start[name])]
    assert not still


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_gets_a_gradient(variant: str) -> None:
    shape = network(window=3)
    model = scattered(shape, memory=settings(variant=variant))
    batch = rows(shape, [TEXT], 64)
    byte_loss(model(batch), batch.targets).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.to_dense().any()]


def test_replaced_attention_has_no_parameters() -> None:
    model = NeatModel(whole(network(), memory=settings(variant="lmm", layers=(2,))))
    names = [name for name, _ in model.named_parameters() if ".attention." in name]
    assert names and all(name.startswith("latent.layers.0.") for name in names)


def test_off_has_no_parameters_and_makes_no_products() -> None:
    shape = network(window=3)
    models = [NeatModel(whole(shape, memory=memory)) for memory in (Settings(), settings(), settings(persistent=0))]
    assert not [name for name, _ in models[0].named_parameters() if "memory" in name or "persistent" in name]
    batch, counts = rows(shape, [TEXT], 64), []
    for index, model in enumerate(models):
        if index:
            model.activate("memory", on=False)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(batch)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[2]


@pytest.mark.parametrize("variant", ["mag", "mal", "mac"])
def test_turned_off_it_is_left_out_and_comes_back(variant: str) -> None:
    shape = network(window=3)
    model = scattered(shape, memory=settings(variant=variant, persistent=0))
    off = NeatModel(whole(shape)).double()
    off.load_state_dict({name: t for name, t in model.state_dict().items() if ".memory." not in name})
    batch = rows(shape, [TEXT], 64)
    on = forward(model, batch)
    model.activate("memory", on=False)
    assert torch.equal(forward(model, batch), forward(off, batch))
    model.activate("memory", on=True)
    assert torch.equal(forward(model, batch), on) and not torch.equal(on, forward(off, batch))


def test_a_memory_in_place_of_attention_cannot_be_turned_off() -> None:
    model = NeatModel(whole(network(), memory=settings(variant="lmm")))
    assert "memory" not in model.switchable()


def test_a_row_does_not_depend_on_its_batch() -> None:
    shape = network(window=3)
    model = scattered(shape, memory=settings())
    texts = [prose(seed, 12)[: 30 + 7 * seed] for seed in range(4)]
    together = forward(model, rows(shape, texts, 64))
    for row, text in enumerate(texts):
        assert torch.equal(forward(model, rows(shape, [text], 64))[0], together[row])
    assert torch.equal(forward(model, rows(shape, texts[::-1], 64)), together.flip(0))


@pytest.mark.parametrize("variant", VARIANTS)
def test_documents_of_a_row_do_not_meet(variant: str) -> None:
    shape = network(window=3, smear=False, hash_orders=(), ngram_features=False)
    model = scattered(shape, memory=settings(variant=variant))
    left, right = prose(3, 5), prose(4, 5)
    other = bytes(byte ^ 1 for byte in left)
    both = [forward(model, packed(shape, [first, right], 128, "stride"))[0] for first in (left, other)]
    start, end = len(left), len(left) + len(right)
    assert torch.equal(both[0][start:end], both[1][start:end])
    assert not torch.equal(both[0][:start], both[1][:start])


def test_nothing_lasts_from_one_forward_pass_to_the_next() -> None:
    shape = network(window=3)
    model = scattered(shape, memory=settings())
    batch = rows(shape, [TEXT], 64)
    first = forward(model, batch)
    forward(model, rows(shape, [prose(1, 12)[:60]], 64))
    assert torch.equal(forward(model, batch), first)


@pytest.mark.parametrize("window", [0, 3, 5])
@pytest.mark.parametrize("kv_heads", [1, 2])
@pytest.mark.parametrize("context", [False, True])
def test_blocks_show_what_the_masked_row_shows(window: int, kv_heads: int, context: bool) -> None:
    """Persistent pairs and a context, with windows cut into blocks and with one mask over the row."""
    block = LatentBlock(whole(network(kv_heads=kv_heads), memory=settings(variant="mac")), 0).double()
    scatter(block)
    document = torch.tensor([[0] * 6 + [1] * 7])
    x, beside = torch.randn(2, 1, 13, 16, dtype=torch.float64)
    span = make_span(document, window, 8, 100.0, persistent=2)
    full = make_span(document, 0, 8, 100.0)
    at = torch.arange(13)
    near = at[:, None] - at[None, :] < (window or 13)
    allowed = F.pad(full.allowed & near, (0, 2), value=True)
    full = type(full)(allowed, 0, full.cos, full.sin, 2)
    attention = block.attention
    found = [attention(x, one, beside if context else None) for one in (span, full)]
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)
    assert (span.block > 0) == (0 < window < 13)


def test_persistent_pairs_are_seen_by_all_and_change_with_no_input() -> None:
    """Attention with pairs against the same attention whose softmax is written out."""
    shape = network(heads=2, kv_heads=2, qk_norm=False)
    block = LatentBlock(whole(shape, memory=Settings(persistent=3)), 0).double()
    scatter(block)
    attention, x = block.attention, torch.randn(1, 5, 16, dtype=torch.float64)
    span = make_span(torch.zeros(1, 5), 0, 8, 1e9, persistent=3)
    span = type(span)(span.allowed, 0, torch.ones_like(span.cos), torch.zeros_like(span.sin), 3)
    query, key, value = attention.qkv(x).view(5, 3, 2, 8).permute(1, 2, 0, 3)
    own_key, own_value = attention.persistent
    scores = query @ torch.cat((own_key, key), dim=1).mT / 8**0.5
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1)
    weight = scores.masked_fill(F.pad(hidden, (3, 0)), -torch.inf).softmax(-1)
    expected = attention.out((weight @ torch.cat((own_value, value), dim=1)).transpose(0, 1).reshape(1, 5, 16))
    torch.testing.assert_close(attention(x, span), expected, rtol=0, atol=1e-12)


def test_persistent_pairs_need_no_memory() -> None:
    model = NeatModel(whole(network(), memory=Settings(persistent=3)))
    names = [name for name, _ in model.named_parameters() if "persistent" in name]
    assert names == ["latent.layers.0.attention.persistent", "latent.layers.1.attention.persistent"]


KEYS: dict[str, Callable[[], Tensor]] = {
    "random": lambda: torch.randn(1, 8192, 16),
    "constant": lambda: torch.ones(1, 8192, 16),
    "two symbols": lambda: torch.randn(2, 16)[torch.randint(0, 2, (1, 8192))],
}


@pytest.mark.parametrize("chunk", [16, 256])
@pytest.mark.parametrize("name", KEYS)
def test_it_stays_bounded_over_eight_thousand_patches(name: str, chunk: int) -> None:
    """With the steepest rate and the longest momentum that the gates can give."""
    memory = memory_alone(chunk=chunk, max_rate=0.3)
    with torch.no_grad():
        memory.gate_bias.copy_(torch.tensor([-9.0, 3.0, 9.0])[:, None])
    told: dict[str, Tensor] = {}
    memory.probe = told.__setitem__
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = apply(memory, KEYS[name]())
    assert bool(torch.isfinite(found).all())
    assert float(told["memory/norm"]) < 100


@pytest.mark.slow
def test_its_norm_is_bounded_over_a_hundred_thousand_patches_of_a_stream() -> None:
    memory = memory_alone(chunk=256, max_rate=0.3)
    with torch.no_grad():
        memory.gate_bias.copy_(torch.tensor([-5.0, 3.0, 9.0])[:, None])
    cache, told, norms = memory.new_cache(1), dict[str, Tensor](), []
    memory.probe = told.__setitem__
    document = torch.zeros(1, 5000, dtype=torch.int32)
    with torch.inference_mode():
        for part in range(20):
            x = KEYS[list(KEYS)[part % 3]]()[:, :5000]
            memory(x, make_recall(document, memory.settings, x.dtype, cached=True), cache)
            norms.append(float(told["memory/norm"]))
    assert max(norms[-3:]) < 1.5 * max(norms[:3]) < 100
    assert all(bool(torch.isfinite(leaf).all()) for _, leaf in leaves(cache))


def test_without_its_bounds_it_diverges() -> None:
    """The test above sees divergence where there is some."""
    memory = memory_alone(chunk=16, max_rate=10.0, clip=0.0, gram=False)
    with torch.no_grad():
        memory.gate_bias.copy_(torch.tensor([-9.0, 3.0, 9.0])[:, None])
        memory.out.weight.normal_()
        found = apply(memory, KEYS["two symbols"]())
    assert not torch.isfinite(found).all()


def test_it_learns_without_autograd() -> None:
    """An inner gradient taken by autograd would be gone under inference mode."""
    memory = memory_alone()
    scatter(memory)
    x = torch.randn(2, 11, 16)
    with_graph = apply(memory, x)
    with torch.inference_mode():
        assert torch.equal(apply(memory, x), with_graph)
        frozen = memory_alone(max_rate=1e-9)
        frozen.load_state_dict(memory.state_dict())
        assert not torch.allclose(apply(frozen, x), with_graph, atol=1e-4)


@pytest.mark.slow
def test_it_compiles_into_one_graph() -> None:
    memory = memory_alone()
    scatter(memory)
    x, document = torch.randn(1, 9, 16), torch.tensor([[0] * 5 + [1] * 4])
    compiled = torch.compile(lambda x: apply(memory, x, document), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), apply(memory, x, document))
    compiled(x).sum().backward()
    assert memory.first.grad is not None and bool(memory.first.grad.any())


def test_a_plan_counts_its_activations_and_what_recomputing_saves() -> None:
    small = ["network.width=64", "network.heads=2", "network.kv_heads=2", "train.max_steps=3", "train.batch_bytes=1024"]
    changes = ["memory.variant=off", "memory.variant=mag", "memory.recompute=true"]
    plans = [plan(load("tiny", [*small, *changes[:1], *changes[1:num]]).config) for num in (1, 2, 3)]
    off, kept, again = (found["memory_bytes"]["activations"] for found in plans)
    assert off < again < kept and again - off < (kept - off) / 2
    assert plans[1]["parameters"]["memory"] > 0


def test_recomputing_changes_no_gradient() -> None:
    x, document = torch.randn(2, 19, 16), torch.tensor([[0] * 5 + [1] * 14, [0] * 17 + [-1] * 2])
    gradients = []
    for recompute in (False, True):
        memory = memory_alone(recompute=recompute)
        scatter(memory)
        apply(memory, x, document).square().sum().backward()
        gradients.append([parameter.grad for parameter in memory.parameters()])
    for kept, again in zip(*gradients, strict=True):
        assert kept is not None and again is not None and torch.equal(kept, again)


def observe(memory: Memory, x: Tensor, document: Tensor | None = None) -> dict[str, float]:
    told: dict[str, Tensor] = {}
    memory.probe = told.__setitem__
    with torch.no_grad():
        apply(memory, x, document)
    memory.probe = None
    return {name: float(value) for name, value in told.items()}


def test_surprise_falls_where_the_input_repeats_and_rises_where_it_is_new() -> None:
    memory = memory_alone(chunk=1, conv_taps=1)
    seen, new = torch.randn(2, 1, 1, 16)

    def surprise(x: Tensor) -> float:
        """Of the last patch."""
        document = torch.zeros(x.shape[:2], dtype=torch.int32)
        cache, told = memory.new_cache(1), dict[str, Tensor]()
        with torch.no_grad():
            recall = make_recall(document[:, :-1], memory.settings, x.dtype, cached=True)
            memory(x[:, :-1], recall, cache)
            memory.probe = told.__setitem__
            memory(x[:, -1:], make_recall(document[:, -1:], memory.settings, x.dtype, cached=True), cache)
        memory.probe = None
        return float(told["memory/surprise"])

    falling = [surprise(seen.expand(1, times, 16)) for times in (2, 4, 8, 16)]
    assert falling == sorted(falling, reverse=True) and falling[-1] < 0.5 * falling[0]
    assert surprise(torch.cat((seen.expand(1, 15, 16), new), dim=1)) > 2 * falling[-1]


def test_metrics_are_means_over_real_patches() -> None:
    memory = memory_alone()
    x = torch.randn(1, 9, 16)
    told = observe(memory, x)
    assert told.keys() == {
        f"memory/{name}"
        for name in ("surprise", "update_rate", "forgetting", "momentum", "rate", "norm", "gate", "gate_entropy")
    }
    logits = (
        (F.linear(x, memory.gates) + memory.gate_bias.flatten())
        .detach()
        .sigmoid()
        .unflatten(-1, (3, 2))
        .mean((0, 1, 3))
    )
    assert told["memory/forgetting"] == pytest.approx(float(logits[0]), rel=1e-5)
    assert told["memory/momentum"] == pytest.approx(float(logits[1]), rel=1e-5)
    assert 0 < told["memory/rate"] < 0.3 and told["memory/update_rate"] == 1.0
    padded = torch.cat((x, torch.randn(1, 7, 16) * 9), dim=1)
    again = observe(memory, padded, torch.tensor([[0] * 9 + [-1] * 7]))
    gate = memory.project(x)[..., 48:].detach().sigmoid()
    assert told["memory/gate"] == pytest.approx(float(gate.mean()), rel=1e-5)
    coins = torch.distributions.Bernoulli(gate).entropy() / math.log(2)
    assert told["memory/gate_entropy"] == pytest.approx(float(coins.mean()), rel=1e-5)
    for name in ("surprise", "forgetting", "momentum", "rate", "gate", "gate_entropy"):
        assert again[f"memory/{name}"] == pytest.approx(told[f"memory/{name}"], rel=1e-5)


def test_the_threshold_lets_a_part_of_the_patches_write() -> None:
    x = torch.randn(1, 64, 16)[:, torch.arange(64) % 8]
    told = [observe(memory_alone(surprise_threshold=limit), x)["memory/update_rate"] for limit in (0.0, 0.95, 1e6)]
    assert told[0] == 1.0 and 0 < told[1] < 1 and told[2] == 0.0


def test_without_a_listener_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("neat.model.memory.module.Meter", refuse)
    apply(memory_alone(), torch.randn(1, 9, 16))


def test_later_applications_leave_the_memory_alone() -> None:
    """Without a `recall` a layer is the one without a memory."""
    config = whole(network(), memory=settings(variant="mag", persistent=0))
    block, plain = LatentBlock(config, 0).double(), LatentBlock(whole(network()), 0).double()
    scatter(block)
    plain.load_state_dict({name: t for name, t in block.state_dict().items() if not name.startswith("memory.")})
    span, x = make_span(torch.zeros(1, 7), 3, 8, 100.0), torch.randn(1, 7, 16, dtype=torch.float64)
    assert torch.equal(block(x, span), plain(x, span))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("memory.heads=5", "5 does not divide network.width"),
        ("memory.layers=[0]", "layer below 1"),
        ("memory.layers=[2, 2]", "names a layer twice"),
        ("memory.layers=[9]", "names layer 9"),
        ("memory.variant=titan", "memory.variant"),
        ('memory={variant = "lmm", layers = [1, 2, 3], persistent = 2}', "needs attention"),
    ],
)
def test_settings_that_cannot_be(change: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says.replace("[", r"\[")):
        load("tiny", ["memory.variant=mag", change])
