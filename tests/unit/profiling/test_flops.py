"""The closed formula against torch's own count of a real forward pass."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from neat.config.load import load
from neat.config.schema import Config
from neat.model.batch import Batch
from neat.model.neat import NeatModel
from neat.profiling import flops
from neat.profiling.plan import plan

ROWS = 2
SHAPE = {
    "network.width": 128, "network.layers": 2, "network.heads": 4, "network.kv_heads": 2, "network.ffn_width": 320,
    "network.local_width": 64, "network.local_heads": 2, "network.encoder_ffn_width": 96,
    "network.decoder_ffn_width": 160, "network.hash_rows": 64, "network.encoder_layers": 1,
    "patcher.rule": "stride", "patcher.stride": 4, "patcher.max_length": 8,
    "train.window": 256, "train.batch_bytes": 512, "train.curriculum": [], "train.patch_slack": 1.0,
    "train.max_steps": 10, "runtime.device": "cpu", "runtime.dtype": "float32",
}  # fmt: skip

CASES: dict[str, dict[str, Any]] = {
    "flat": {"network.patches": False},
    "flat without n-gram features": {"network.patches": False, "network.ngram_features": False},
    "convolutions": {},
    "attention mixers": {"network.encoder_mixer": "attention", "network.decoder_mixer": "attention"},
    "cross-attention": {"network.pool": "cross_attention", "network.read": "cross_attention"},
    "everything": {
        "network.encoder_mixer": "attention",
        "network.decoder_mixer": "attention",
        "network.pool": "cross_attention",
        "network.read": "cross_attention",
        "network.ngram_features": False,
    },
    "no feed-forward in the encoder": {"network.encoder_ffn_width": 0},
    "memory beside attention": {"memory.variant": "mag", "memory.chunk": 16, "recursion.depth": 2},
    "memory in place of attention, flat": {"memory.variant": "lmm", "network.patches": False, "memory.gram": False},
    "memory as context, everywhere": {"memory.variant": "mac", "memory.layers": [1, 2], "memory.persistent": 5},
    "memory before attention, chunk longer than the row": {"memory.variant": "mal", "memory.chunk": 512},
    "recursion": {"recursion.depth": 3, "recursion.micro_steps": 2, "recursion.supervision": [0.5, 0.0]},
    "halting": {"recursion.depth": 3, "recursion.halting": True, "network.patches": False},
    "squared feed-forward parts": {"network.activation": "leaky_relu2", "network.patches": False},
    "levers": {
        "network.xsa": True,
        "network.attention_gate": True,
        "network.kv_conv": 4,
        "network.qk_gain": 2.0,
        "network.unet_skips": True,
    },
    "images": {
        "vision.on": True,
        "vision.codec": "palette:8",
        "vision.codes": 8,
        "vision.grid": 4,
        "vision.head_ffn_width": 160,
    },
    "images without layers of their own": {
        "vision.on": True,
        "vision.codec": "palette:64",
        "vision.codes": 64,
        "vision.grid": 4,
        "vision.head_layers": 0,
    },
}


def configure(changes: dict[str, Any]) -> Config:
    """A configuration of a few hundred thousand parameters."""
    return load(None, [f"{key}={json.dumps(value)}" for key, value in (SHAPE | changes).items()]).config


def full_batch(config: Config) -> Batch:
    """Rows without padding: `stride` bytes a patch, every slot but the last one used."""
    window, slots = config.train.window, config.patch_slots(config.train.window)
    positions = torch.zeros(ROWS, window, dtype=torch.int64)
    patches = torch.zeros(ROWS, slots, dtype=torch.int64)
    tables = len(config.network.hash_orders)
    return Batch(
        ids=positions, targets=positions, document=positions.int(), patch=positions, read=positions,
        patch_document=patches.int(), patch_first=patches, patch_last=patches,
        patch_length=torch.full_like(patches, config.patcher.stride).int(),
        hashes=torch.zeros(ROWS, window, tables, dtype=torch.int64),
        features=torch.zeros(ROWS, window, 256, dtype=torch.float16) if config.network.ngram_features else None,
        codes=positions - 1 if config.vision.on else None, cell=positions - 1 if config.vision.on else None,
        code_targets=patches - 100 if config.vision.on else None,
    )  # fmt: skip


def products(config: Config) -> float:
    """Operations of all matrix products that the forward pass makes, attention left out, per position."""
    model = NeatModel(config)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        (model.outputs if config.vision.on else model)(full_batch(config))
    counts = counter.get_flop_counts()["Global"]
    return sum(count for operation, count in counts.items() if "attention" not in str(operation)) / (
        ROWS * config.train.window
    )


@pytest.mark.parametrize("name", CASES)
def test_the_formula_counts_what_the_network_multiplies(name: str) -> None:
    config = configure(CASES[name])
    counted = flops.forward_per_byte(config, config.train.window) - elsewhere(config)
    # Rows have one slot more than patches, for padding.
    assert counted == pytest.approx(products(config), rel=0.03)


def elsewhere(config: Config) -> float:
    """What the formula counts and torch's counter does not see as a matrix product, by hand, per byte.

    Attention is left out on both sides because dense kernels also multiply what the mask hides; convolutions and the
    softmax over the vectors of one patch are element-wise here.
    """
    network, window = config.network, config.train.window
    stride = config.patcher.stride if network.patches else 1
    runs = network.layers * config.recursion.depth * config.recursion.micro_steps
    total = (runs * attention(config, window / stride) + remembered(config, window / stride)) / stride
    if not network.patches:
        return total
    width, queries = network.local_width, network.width // network.local_width
    for layers, mixer in (
        (network.encoder_layers, network.encoder_mixer), (network.decoder_layers, network.decoder_mixer)
    ):  # fmt: skip
        reach = (window + 1) / 2
        total += layers * (4 * reach * width if mixer == "attention" else 2 * network.conv_taps * width)
    if network.pool == "cross_attention":
        total += 4 * queries * config.patcher.max_length * width / stride
    if network.read == "cross_attention":
        total += network.decoder_layers * 4 * queries * width
    return total


def attention(config: Config, length: float) -> float:
    """Of one latent layer, per position of a row of `length`."""
    return 4 * ((length + 1) / 2 + config.memory.persistent) * config.network.width


def remembered(config: Config, length: float) -> float:
    """The attention that memories add or take away, and their convolution, per position."""
    memory, width = config.memory, config.network.width
    count = len(memory.layer_indices(config.network.layers))
    if memory.variant == "mac":
        added = 4 * (length + 1) / 2 * width
    else:
        added = -attention(config, length) if memory.variant == "lmm" else 0.0
    return count * (added + 6 * memory.conv_taps * width)


@pytest.mark.parametrize(("limit", "window"), [(0, 100), (100, 100), (101, 100), (7, 100), (1, 5), (99, 100)])
def test_mean_keys_per_query(limit: int, window: int) -> None:
    seen = [min(position + 1, limit or window) for position in range(window)]
    assert flops._reach(limit, window) == pytest.approx(sum(seen) / window)


@pytest.mark.parametrize("patches", [True, False])
def test_predictions_after_earlier_applications_are_counted_in_training(patches: bool) -> None:
    config = configure({
        "network.patches": patches, "recursion.depth": 4, "recursion.supervision": [0.5, 0.0, 1.0],
        "network.decoder_mixer": "conv",
    })  # fmt: skip
    model = NeatModel(config)
    counts = []
    for run in (model, model.outputs):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run(full_batch(config))
        counts.append(counter.get_total_flops() / (ROWS * config.train.window))
    network = config.network
    convolved = network.decoder_layers * 2 * network.conv_taps * network.local_width if patches else 0
    extra = flops.train_per_byte(config, 256) - 3 * flops.forward_per_byte(config, 256)
    # Two predictions, forward and backward; convolutions are element-wise here.
    assert extra / 3 - 2 * convolved == pytest.approx(counts[1] - counts[0], rel=0.03)


def test_a_halting_head_without_supervision_costs_itself_and_forward_predictions() -> None:
    plain, halting = (configure({"recursion.depth": 3, "recursion.halting": on}) for on in (False, True))
    extra = flops.train_per_byte(halting, 256) - flops.train_per_byte(plain, 256)
    supervised = configure({"recursion.depth": 3, "recursion.supervision": [1.0, 1.0]})
    full = flops.train_per_byte(supervised, 256) - flops.train_per_byte(plain, 256)
    head = flops.forward_per_byte(halting, 256) - flops.forward_per_byte(plain, 256)
    assert extra == pytest.approx(full / 3 + 3 * head)


def test_middle_layers_that_loop_count_twice() -> None:
    changes = {"network.layers": 6, "network.patches": False}
    four, six = (flops.forward_per_byte(configure(changes | {"network.layers": n}), 256) for n in (4, 6))
    looped = flops.forward_per_byte(configure(changes | {"network.loop_middle": 0.5}), 256)
    assert looped - six == pytest.approx(six - four)


def test_training_is_three_forward_passes() -> None:
    config = configure({})
    assert flops.train_per_byte(config, 256) == 3 * flops.forward_per_byte(config, 256)


@pytest.mark.parametrize("preset", ["tiny", "100m", "350m", "1b"])
def test_the_parameters_of_a_plan_are_those_of_the_model(preset: str) -> None:
    config = load(preset, ["train.max_steps=3", "train.micro_batch_bytes=4608"] if preset != "tiny" else []).config
    with torch.device("meta"):
        model = NeatModel(config)
    result = plan(config)
    parameters = result["parameters"]
    assert parameters["total"] == sum(p.numel() for p in model.parameters())
    assert parameters["total"] == sum(count for name, count in parameters.items() if name != "total")
    latent = sum(p.numel() for p in model.latent.parameters())
    assert sum(parameters.get(name, 0) for name in ("latent transformer", "memory", "halting")) == latent


def test_a_plan_of_steps_is_bytes_and_time() -> None:
    result = plan(configure({}))
    assert (result["steps"], result["bytes"]) == (10, 5120)
    times = list(result["time_s"].values())
    assert len(times) == 3 and times == sorted(times, reverse=True)
