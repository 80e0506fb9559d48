"""Levers of the latent layers against loops in float64: no effect where they start, blind to what is not theirs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.networks import network, scatter, scattered, whole
from support.rotary import THETA, turned
from support.text import close, forward, noise, packed, prose, rows
from torch import Tensor

from neat.config.schema import Network
from neat.errors import ConfigError
from neat.model.attention import Attention, make_span, rotate
from neat.model.layers import SquaredFeedForward, feed_forward
from neat.model.levers import Levers
from neat.model.losses import byte_loss
from neat.model.neat import NeatModel

TEXT = prose(5, 12)[:60]
DOCUMENT = [0] * 7 + [1] * 9 + [-1] * 4

# Setting, end of the parameter's name, the value of the parameter at which the lever does nothing.
LEVERS: dict[str, tuple[dict[str, Any], str, float]] = {
    "qk_gain": ({"qk_gain": 1.0}, "query_gain.gain", 0.0),
    "kv_conv": ({"kv_conv": 3}, "attention.convolution.kernel", 0.0),
    "xsa": ({"xsa": True}, "exclusive.share", 0.0),
    "attention_gate": ({"attention_gate": True}, "head_gate.weight", 0.0),
    "unet_skips": ({"unet_skips": True}, "latent.skips", -1e4),
}
ALL = {key: value for change, _, _ in LEVERS.values() for key, value in change.items()}


def lever_parameters(model: NeatModel, ending: str) -> list[str]:
    return [name for name, _ in model.named_parameters() if name.endswith(ending)]


@pytest.mark.parametrize("patches", [True, False])
@pytest.mark.parametrize("name", LEVERS)
def test_off_is_exact(name: str, patches: bool) -> None:
    change, ending, silent = LEVERS[name]
    off_shape = network(patches=patches, kv_heads=1, window=5)
    shape = Network.model_validate(off_shape.model_dump() | change)
    model, off = scattered(shape), NeatModel(whole(off_shape)).double()
    batch = rows(shape, [TEXT], 64)
    changed = forward(model, batch)
    names = lever_parameters(model, ending)
    assert names and not lever_parameters(off, ending)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for own in names:
            weights[own].fill_(silent)
    off.load_state_dict({key: value for key, value in weights.items() if key not in names})
    assert torch.equal(forward(off, batch), forward(model, batch))
    assert not torch.equal(changed, forward(model, batch))


@pytest.mark.parametrize("name", ["kv_conv", "xsa", "attention_gate", "qk_gain"])
def test_a_fresh_lever_has_no_effect_and_a_gradient(name: str) -> None:
    change, ending, silent = LEVERS[name]
    model = NeatModel(whole(network(**change)))
    batch = rows(network(), [TEXT], 64)
    torch.nn.init.normal_(model.head.weight)  # zero at first, and nothing would reach what is behind it
    byte_loss(model(batch), batch.targets).backward()
    for own in lever_parameters(model, ending):
        parameter = model.get_parameter(own)
        assert bool((parameter == silent).all())
        assert parameter.grad is not None and bool(parameter.grad.any())


def test_skips_start_open() -> None:
    model = NeatModel(whole(network(unet_skips=True)))
    assert model.latent.skips is not None
    assert bool((2 * torch.sigmoid(model.latent.skips) == 1).all())


@pytest.mark.parametrize("window", [0, 5])
def test_every_lever_gets_a_gradient_with_all_others_on(window: int) -> None:
    shape = network(**ALL, layers=5, window=window)
    model = scattered(shape)
    batch = rows(shape, [TEXT], 64)
    byte_loss(model(batch), batch.targets).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.to_dense().any()]
    assert not silent


def slow(module: Attention, x: Tensor, document: list[int], window: int, levers: Levers) -> Tensor:
    """One row through attention with levers, position by position and head by head, [N, D] -> [N, D]."""
    size, groups = module.head_width, module.kv_heads
    query, key, value = (x @ part.T for part in module.qkv.weight.split(module.qkv.splits))
    if module.convolution is not None:
        before = (key.clone(), value.clone())
        kernel = module.convolution.kernel
        for i in range(len(x)):
            for k in range(1, levers.kv_conv):
                if i >= k and document[i - k] == document[i]:
                    key[i] = key[i] + before[0][i - k] * kernel[k - 1, :groups].flatten()
                    value[i] = value[i] + before[1][i - k] * kernel[k - 1, groups:].flatten()
    mixed = torch.zeros_like(x)
    for head in range(module.heads):
        group = head * groups // module.heads
        own, theirs = slice(head * size, (head + 1) * size), slice(group * size, (group + 1) * size)
        q, k = (y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() for y in (query[:, own], key[:, theirs]))
        q = torch.tensor([turned(vector, at) for at, vector in enumerate(q)], dtype=x.dtype)
        k = torch.tensor([turned(vector, at) for at, vector in enumerate(k)], dtype=x.dtype)
        if module.query_gain is not None:
            q = q * levers.qk_gain * (1 + module.query_gain.gain[head])
        for i in range(len(x)):
            seen = [j for j in range(max(0, i - window + 1) if window else 0, i + 1) if document[j] == document[i]]
            y = torch.stack([q[i] @ k[j] for j in seen]).div(math.sqrt(size)).softmax(0) @ value[seen][:, theirs]
            if module.exclusive is not None:
                u = value[i, theirs] / value[i, theirs].norm()
                y = y - module.exclusive.share[head] * (y @ u) * u
            if module.head_gate is not None:
                weight = module.head_gate.weight[:, head]
                y = y * 2 / (1 + torch.exp(-(x[i, : len(weight)] @ weight)))
            mixed[i, own] = y
    return mixed @ module.out.weight.T


CASES = {
    "qk_gain": Levers(qk_gain=2.5),
    "kv_conv": Levers(kv_conv=4),
    "xsa": Levers(xsa=True),
    "attention_gate": Levers(attention_gate=True),
    "all": Levers(2.5, 3, True, True),
}


@pytest.mark.parametrize("window", [0, 4])
@pytest.mark.parametrize("name", CASES)
def test_equals_a_loop(name: str, window: int) -> None:
    module = Attention(16, 4, 2, qk_norm=True, levers=CASES[name]).double()
    scatter(module)
    x = torch.randn(2, len(DOCUMENT), 16, dtype=torch.float64)
    documents = torch.tensor([DOCUMENT, [0] * len(DOCUMENT)])
    span = make_span(documents, window, module.head_width, THETA, taps=CASES[name].kv_conv)
    with torch.no_grad():
        result = module(x, span)
        for row in range(2):
            expected = slow(module, x[row], documents[row].tolist(), window, CASES[name])
            torch.testing.assert_close(result[row], expected, rtol=0, atol=5e-6)


@pytest.mark.parametrize(("name", "reach"), [("kv_conv", 3), ("xsa", 0), ("attention_gate", 0), ("qk_gain", 0)])
def test_a_change_moves_the_rest_of_its_document_within_reach_only(name: str, reach: int) -> None:
    window = 6
    levers = CASES[name]
    module = Attention(16, 2, 1, qk_norm=True, levers=levers).double()
    scatter(module)
    document = torch.tensor([DOCUMENT])
    span = make_span(document, window, 8, THETA, taps=levers.kv_conv)
    x = torch.randn(1, 20, 16, dtype=torch.float64)
    with torch.no_grad():
        before = module(x, span)
        for at in range(20):
            changed = x.clone()
            changed[0, at] += torch.randn(16, dtype=torch.float64)
            moved = (module(changed, span) != before).any(-1)[0].nonzero().flatten().tolist()
            assert moved == [i for i in range(at, min(20, at + window + reach)) if DOCUMENT[i] == DOCUMENT[at]], at


@pytest.mark.parametrize("patches", [True, False])
def test_later_bytes_change_no_earlier_prediction_with_all_levers(patches: bool) -> None:
    shape = network(**ALL, layers=5, patches=patches, rope_share=0.5, activation="leaky_relu2")
    model = scattered(shape)
    cuts = [0, 1, 2, 17, 31]
    texts = [TEXT] + [TEXT[:cut] + noise(cut, 60 - cut) for cut in cuts]
    logits = forward(model, rows(shape, texts, 64))
    for row, cut in enumerate(cuts, start=1):
        assert close(logits[row, : cut + 1], logits[0, : cut + 1]), cut
        assert not close(logits[row, cut + 1 : 60], logits[0, cut + 1 : 60], 1e-3), cut


def test_a_document_before_changes_nothing_in_the_next_one_with_all_levers() -> None:
    shape = network(**ALL, layers=5, rope_share=0.5, window=4)
    model = scattered(shape)
    second = prose(8, 6)
    both = [forward(model, packed(shape, [first, second], 128, "stride"))[0] for first in (noise(3, 33), noise(4, 33))]
    assert torch.equal(both[0][33 : 33 + len(second)], both[1][33 : 33 + len(second)])


@pytest.mark.parametrize(("share", "turning"), [(0.25, 4), (0.5, 8), (0.1, 2), (1.0, 16)])
def test_partial_rotation_turns_the_first_pairs_and_leaves_the_rest(share: float, turning: int) -> None:
    span = make_span(torch.zeros(1, 30), 0, 16, THETA, rope_share=share)
    x = torch.randn(2, 3, 30, 16, dtype=torch.float64)
    rotated = rotate(x, span.cos, span.sin)
    pairs = [*range(turning // 2), *range(8, 8 + turning // 2)]
    rest = [channel for channel in range(16) if channel not in pairs]
    assert torch.equal(rotated[..., rest], x[..., rest])
    alone = make_span(torch.zeros(1, 30), 0, turning, THETA)
    assert torch.equal(rotated[..., pairs], rotate(x[..., pairs], alone.cos, alone.sin))


def test_the_squared_feed_forward_is_its_formula_with_the_parameters_of_a_gated_one() -> None:
    shape = network(activation="leaky_relu2")
    squared, gated = feed_forward(shape, 16, 24), feed_forward(network(), 16, 24)
    assert isinstance(squared, SquaredFeedForward)
    sizes = [sum(p.numel() for p in module.parameters()) for module in (squared, gated)]
    assert sizes[0] == sizes[1]
    x = torch.randn(3, 5, 16)
    inner = x @ squared.up.weight.T
    expected = torch.where(inner > 0, inner, 0.5 * inner) ** 2 @ squared.down.weight.T
    torch.testing.assert_close(squared(x), expected)
    assert torch.equal(F.leaky_relu(inner, 0.5).square(), torch.where(inner > 0, inner, 0.5 * inner) ** 2)


@pytest.mark.parametrize(
    ("layers", "order"),
    [(3, [0, 1, 1, 2]), (4, [0, 1, 2, 1, 2, 3]), (6, [0, 1, 2, 3, 2, 3, 4, 5])],
)
def test_the_middle_third_runs_twice_from_its_share_of_the_run_on(layers: int, order: list[int]) -> None:
    shape = network(patches=False, layers=layers, loop_middle=0.35)
    model, plain = scattered(shape), scattered(network(patches=False, layers=layers))
    batch = rows(shape, [TEXT], 64, "byte")
    for step in (0, 34):
        model.latent.progress(step, 100)
        assert torch.equal(forward(model, batch), forward(plain, batch))
    model.latent.progress(35, 100)
    assert model.latent.order() == order
    with torch.no_grad():
        x = model.embedding(batch)
        span = make_span(batch.document, 0, 8, shape.rope_theta, dtype=torch.float64)
        for index in order:
            x = model.latent.layers[index](x, span)
    assert torch.equal(model.latent(model.embedding(batch), batch.document).vectors, x)
    plain.latent.progress(99, 100)
    assert not plain.latent.looped


def test_looping_needs_a_middle() -> None:
    with pytest.raises((ConfigError, ValueError), match="needs three layers"):
        network(layers=2, loop_middle=0.5)
