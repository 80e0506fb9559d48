"""Recursion: the plain stack at depth one, its own recurrence beyond, causal, supervised after each application."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.networks import NETWORKS, network, scattered, whole
from support.text import close, forward, noise, packed, prose, rows
from torch.utils.flop_counter import FlopCounterMode

from neat.config.schema import Network, Recursion
from neat.model.attention import make_span
from neat.model.batch import Batch
from neat.model.layers import rms_norm
from neat.model.losses import byte_loss, objective
from neat.model.neat import NeatModel

TEXT = prose(5, 12)[:60]
SOME = [name for number, name in enumerate(NETWORKS) if number % 5 == 0] + ["flat", "flat-windowed-grouped"]


def recursion(depth: int, **changes: Any) -> Recursion:
    return Recursion.model_validate({"depth": depth, **changes})


def test_depth_one_has_no_parameters_of_its_own_and_is_the_plain_network() -> None:
    plain, shape = scattered(network()), network()
    one = scattered(shape, recursion=recursion(1))
    assert dict(one.named_parameters()).keys() == dict(plain.named_parameters()).keys()
    assert not [name for name, _ in one.named_parameters() if "injection" in name or "halting" in name]
    deeper = NeatModel(whole(shape, recursion=recursion(3))).double()
    deeper.load_state_dict({**plain.state_dict(), "latent.injection": torch.randn(16, dtype=torch.float64)})
    batch = rows(shape, [TEXT], 64)
    first = deeper.latent(*_latent_input(deeper, batch)).earlier[0]
    assert torch.equal(first, plain.latent(*_latent_input(plain, batch)).vectors)
    assert not torch.equal(forward(deeper, batch), forward(plain, batch))


def _latent_input(model: NeatModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    x = model.embedding(batch)
    if model.patching is None:
        return x, batch.document
    encoded = model.patching.encode(x, model.patching.context(batch, x))
    return model.patching.pool(encoded, batch), batch.patch_document


@pytest.mark.parametrize("micro_steps", [1, 2])
def test_each_application_reads_the_input_and_the_normed_state(micro_steps: int) -> None:
    shape = network(patches=False)
    model = scattered(shape, recursion=recursion(3, micro_steps=micro_steps))
    batch = rows(shape, [TEXT], 64, "byte")
    with torch.no_grad():
        x, document = _latent_input(model, batch)
        found = model.latent(x, document)
        span = make_span(document, 0, 8, shape.rope_theta, dtype=torch.float64)
        state, states = x, []
        for passed in range(3 * micro_steps):
            state = x if passed == 0 else x + model.latent.injection * rms_norm(state)
            for layer in model.latent.layers:
                state = layer(state, span)
            if passed % micro_steps == micro_steps - 1:
                states.append(state)
    assert all(torch.equal(a, b) for a, b in zip((*found.earlier, found.vectors), states, strict=True))


def products(model: NeatModel, batch: Batch) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(batch)
    return counter.get_total_flops()


def test_depth_and_micro_steps_multiply_the_work_of_the_layers() -> None:
    shape = network(patches=False)
    batch = rows(shape, [TEXT], 64, "byte")
    one, two, three, six = (
        products(scattered(shape, recursion=recursion(depth, micro_steps=steps)), batch)
        for depth, steps in ((1, 1), (2, 1), (3, 1), (3, 2))
    )
    layers = two - one
    assert layers > 0.4 * one
    assert (three - one, six - one) == (2 * layers, 5 * layers)


@pytest.mark.parametrize("halting", [False, True])
@pytest.mark.parametrize("name", SOME)
def test_later_bytes_change_no_earlier_prediction(name: str, halting: bool) -> None:
    model = scattered(NETWORKS[name], recursion=recursion(3, halting=halting, micro_steps=1 + halting))
    cuts = [0, 1, 17, 31]
    texts = [TEXT] + [TEXT[:cut] + noise(cut, 60 - cut) for cut in cuts]
    logits = forward(model, rows(NETWORKS[name], texts, 64))
    for row, cut in enumerate(cuts, start=1):
        assert close(logits[row, : cut + 1], logits[0, : cut + 1]), cut
        assert not close(logits[row, cut + 1 : 60], logits[0, cut + 1 : 60], 1e-3), cut


@pytest.mark.parametrize("halting", [False, True])
@pytest.mark.parametrize("name", SOME)
def test_a_row_depends_on_nothing_but_its_document(name: str, halting: bool) -> None:
    """Neither on its neighbours, which halt at other depths, nor on padding, nor on the document before it."""
    shape, settings = NETWORKS[name], recursion(3, halting=halting)
    model = scattered(shape, recursion=settings)
    alone = forward(model, rows(shape, [TEXT], 64))[0, :60]
    beside = forward(model, rows(shape, [noise(1, 30), TEXT, b"x"], 64))[1, :60]
    padded = forward(model, rows(shape, [TEXT], 101, slots=77))[0, :60]
    assert close(beside, alone) and close(padded, alone)
    both = [forward(model, packed(shape, [first, TEXT], 128, "stride"))[0] for first in (noise(3, 33), noise(4, 33))]
    assert close(both[0][33:93], both[1][33:93])
    assert not close(both[0][:33], both[1][:33], 1e-3)


def test_the_loss_is_the_weighted_mean_over_applications() -> None:
    shape, settings = network(), recursion(4, supervision=(0.5, 0.0, 1.5))
    config = whole(shape, recursion=settings)
    assert settings.weights == (0.5 / 3, 0.0, 0.5, 1 / 3) and sum(settings.weights) == pytest.approx(1)
    model, batch = scattered(shape, recursion=settings), rows(shape, [TEXT, prose(6, 9)[:40]], 64)
    outputs = model.outputs(batch)
    # What has no weight is not computed.
    assert len(outputs.earlier) == 2
    total, parts = objective(outputs, batch, config)
    assert parts.keys() == {"byte", "byte_1", "byte_3"}
    expected = []
    for depth in (1, 3, 4):
        shallow = NeatModel(whole(shape, recursion=recursion(depth))).double()
        state = {key: value for key, value in model.state_dict().items() if depth > 1 or "injection" not in key}
        shallow.load_state_dict(state)
        expected.append(byte_loss(forward(shallow, batch), batch.targets))
    assert [float(parts[name].detach()) for name in ("byte_1", "byte_3", "byte")] == pytest.approx(
        [float(loss) for loss in expected], abs=1e-9
    )
    mean = expected[0] / 6 + expected[1] / 2 + expected[2] / 3
    torch.testing.assert_close(total.detach(), mean, rtol=0, atol=1e-9)


def test_without_supervision_only_the_last_application_counts_and_nothing_else_is_decoded() -> None:
    shape = network()
    model, batch = scattered(shape, recursion=recursion(3)), rows(shape, [TEXT], 64)
    outputs = model.outputs(batch)
    assert outputs.earlier == ()
    total, parts = objective(outputs, batch, whole(shape, recursion=recursion(3)))
    assert total is parts["byte"]


def test_gradients_run_through_all_applications() -> None:
    shape = network(patches=False)
    model, batch = scattered(shape, recursion=recursion(3)), rows(shape, [TEXT], 64, "byte")
    byte_loss(model(batch), batch.targets).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.to_dense().any()]
    assert not silent
    assert model.latent.injection is not None and model.latent.injection.grad is not None
    direction = torch.randn(16, dtype=torch.float64)
    step = 1e-6
    with torch.no_grad():
        losses = []
        for sign in (1, -1):
            model.latent.injection += sign * step * direction
            losses.append(byte_loss(model(batch), batch.targets))
            model.latent.injection -= sign * step * direction
    slope = (losses[0] - losses[1]) / (2 * step)
    torch.testing.assert_close(slope, direction @ model.latent.injection.grad, rtol=1e-5, atol=1e-7)


def test_recursion_can_be_left_out_in_the_middle_of_a_run() -> None:
    shape = network()
    settings = recursion(3, supervision=(0.1, 0.2), halting=True)
    model, batch = scattered(shape, recursion=settings), rows(shape, [TEXT], 64)
    deep = forward(model, batch)
    model.activate("recursion", on=False)
    outputs = model.outputs(batch)
    total, parts = objective(outputs, batch, whole(shape, recursion=settings))
    assert outputs.depth is None and parts.keys() == {"byte"} and total is parts["byte"]
    plain = NeatModel(whole(shape)).double()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if "injection" not in k and "halting" not in k})
    assert torch.equal(outputs.logits, forward(plain, batch))
    model.activate("recursion", on=True)
    assert torch.equal(forward(model, batch), deep)


@pytest.mark.parametrize("halting", [False, True])
def test_memory_is_read_and_written_in_the_first_pass_only(halting: bool) -> None:
    from neat.config.schema import Memory

    shape = network(layers=3, loop_middle=0.1)
    memory = Memory.model_validate({"variant": "mag", "heads": 2, "hidden": 4, "chunk": 4, "layers": (2,)})
    model = scattered(shape, memory=memory, recursion=recursion(3, micro_steps=2, halting=halting))
    model.latent.progress(1, 1)
    calls = []
    block = model.latent.layers[1].memory
    assert isinstance(block, torch.nn.Module)
    block.register_forward_hook(lambda *_: calls.append(1))
    forward(model, rows(shape, [TEXT], 64))
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["flat", *[name for name in NETWORKS if "cross" in name][:1]])
def test_bfloat16_and_inference_mode(name: str) -> None:
    shape = NETWORKS[name]
    model = NeatModel(whole(shape, recursion=recursion(3, halting=True, supervision=(0.5, 0.5))))
    batch = rows(shape, [TEXT], 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model.outputs(batch)
    assert outputs.logits.dtype == torch.float32 and outputs.halting[0].dtype == torch.float32
    with torch.inference_mode():
        assert bool(model(batch).isfinite().all())


def test_settings_that_contradict_each_other_are_refused() -> None:
    for changes, what in (
        ({"depth": 3, "supervision": (1.0,)}, "has 1 weights, recursion.depth - 1 is 2"),
        ({"depth": 2, "min_depth": 3}, "more than recursion.depth"),
        ({"depth": 1, "halting": True}, "recursion.depth is 1"),
        ({"depth": 2, "supervision": (-1.0,)}, "negative"),
    ):
        with pytest.raises(ValueError, match=what):
            Recursion.model_validate(changes)
    assert Network().loop_middle == 0
