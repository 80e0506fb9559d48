"""A training step on tensors without data: whatever would have to look at a value stops it.

Reading a value on the host (`.item()`, a branch on a tensor, an output whose size depends on content) would make a
GPU wait for every step and break the compiled graph.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from support.networks import MAX_PATCH, NETWORKS, network, whole
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from neat.config.load import load
from neat.config.schema import Config, Memory, Network, Recursion
from neat.model.batch import Batch
from neat.model.losses import byte_loss, objective
from neat.model.neat import NeatModel


def empty(network: Network, rows: int, window: int, slots: int) -> Batch:
    """A batch of the packer's shapes and types."""
    positions = torch.empty(rows, window, dtype=torch.int64)
    patches = torch.empty(rows, slots, dtype=torch.int64)
    return Batch(
        ids=positions, targets=positions, document=positions.int(), patch=positions, read=positions,
        patch_document=patches.int(), patch_first=patches, patch_last=patches, patch_length=patches.int(),
        hashes=torch.empty(rows, window, len(network.hash_orders), dtype=torch.int64),
        features=torch.empty(rows, window, 256, dtype=torch.float16) if network.ngram_features else None,
    )  # fmt: skip


def forward_and_backward(network: Network, window: int, slots: int, max_patch: int, *, bfloat16: bool = False) -> None:
    """What a step does before its gradients are checked."""
    with torch.device("meta"):
        model = NeatModel(whole(network, max_patch))
    # Drawing the first weights does ask for values; to_empty puts tensors without any in their place.
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = model.to_empty(device="cpu")
        batch = empty(network, 2, window, slots)
        with torch.autocast("cpu", dtype=torch.bfloat16) if bfloat16 else nullcontext():
            logits = model(batch)
        assert logits.shape == (2, window, 256) and logits.dtype == torch.float32
        byte_loss(logits, batch.targets).backward()
        assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())


def test_the_test_can_fail() -> None:
    with FakeTensorMode():
        total = torch.ones(3).sum()
        with pytest.raises(DataDependentOutputException):
            total.item()


@pytest.mark.parametrize("preset", ["tiny", "100m"])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_preset(preset: str, bfloat16: bool) -> None:
    config = load(preset).config
    window = config.train.window
    slots = config.patch_slots(window)
    forward_and_backward(config.network, window, slots, config.patcher.max_length, bfloat16=bfloat16)


LEVERS: dict[str, Any] = {
    "qk_gain": 2.0, "kv_conv": 3, "xsa": True, "attention_gate": True, "unet_skips": True, "activation": "leaky_relu2"
}  # fmt: skip


@pytest.mark.parametrize("patches", [True, False])
def test_levers_recursion_and_supervision(patches: bool) -> None:
    shape = network(**LEVERS, layers=5, window=3, patches=patches)
    recursion = Recursion(depth=3, micro_steps=2, supervision=(0.5, 0.0))
    _whole_step(whole(shape, recursion=recursion), shape)


@pytest.mark.parametrize("variant", ["mag", "mal", "mac", "lmm"])
def test_memories(variant: str) -> None:
    shape = network(window=3)
    memory = Memory.model_validate({"variant": variant, "heads": 2, "chunk": 8, "persistent": 2})
    _whole_step(whole(shape, memory=memory), shape)


def test_halting_that_computes_all_positions() -> None:
    """The form that is compiled; leaving halted positions out asks for their number, once per application."""
    shape, recursion = network(), Recursion(depth=3, halting=True, ponder_weight=0.1, diversity_weight=0.1)
    _whole_step(whole(shape, recursion=recursion), shape)


def _whole_step(config: Config, shape: Network) -> None:
    with torch.device("meta"):
        model = NeatModel(config)
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = model.to_empty(device="cpu")
        model.latent.skips_halted = False
        batch = empty(shape, 2, 64, 30)
        outputs = model.outputs(batch)
        total, _ = objective(outputs, batch, config)
        total.backward()
        assert all(p.grad is not None for p in model.parameters())
        if model.latent.halting is not None:
            model.latent.halting.observe(outputs, batch)
            model.latent.halting.calibrate()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_wiring(name: str) -> None:
    forward_and_backward(NETWORKS[name], 64, 30, MAX_PATCH)
