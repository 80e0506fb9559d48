"""What a run will need, worked out without running it: parameters, operations, memory, bytes and time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from neat.config.schema import Config
from neat.model.batch import Batch
from neat.model.components import COMPONENTS, component_of, part_of
from neat.model.losses import objective
from neat.model.neat import NeatModel
from neat.optim.build import Optimizers
from neat.profiling import flops
from neat.train.device import Placement, place

UTILISATIONS = (0.2, 0.35, 0.5)
"""Shares of the device's measured rate of matrix products for which a duration is given."""


def plan(config: Config) -> dict[str, Any]:
    """Figures of a configuration; nothing is trained and no weight is allocated."""
    placement = place(config.runtime)
    with torch.device("meta"):
        model = NeatModel(config)
    per_byte = flops.train_per_byte(config, config.train.window)
    num_bytes = _bytes(config)
    return {
        "name": config.name,
        "device": str(placement.device),
        "dtype": str(placement.dtype).removeprefix("torch."),
        "parameters": _counts(model, part_of),
        "components": components(config, model),
        "flops_per_byte": {"forward": per_byte / 3, "training": per_byte},
        "memory_bytes": _memory(config, model, placement),
        "steps": math.ceil(num_bytes / config.train.batch_bytes) if num_bytes else None,
        "bytes": num_bytes,
        "time_s": _time(config, per_byte, num_bytes, placement),
    }


def components(config: Config, model: nn.Module) -> dict[str, int]:
    """Parameters per component, zero for those that are off, and their total."""
    found = _counts(model, partial(component_of, experts=config.expert.count > 0))
    return dict.fromkeys(COMPONENTS, 0) | found


def _counts(model: nn.Module, label: Callable[[str], str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        counts[label(name)] = counts.get(label(name), 0) + parameter.numel()
    return counts | {"total": sum(counts.values())}


def _bytes(config: Config) -> int | None:
    train = config.train
    if train.max_steps:
        return train.max_steps * train.batch_bytes
    return train.max_bytes or None


def _memory(config: Config, model: nn.Module, placement: Placement) -> dict[str, int]:
    """Bytes of weights, gradients, optimizer state, averages and the activations of one micro-batch."""
    optimizers = Optimizers(model, config.optim)
    groups = optimizers.groups
    hidden = sum(matrix.parameter.numel() for matrix in groups.hidden)
    other = sum(parameter.numel() for _, parameter in groups.other)
    tables = sum(parameter.numel() for _, parameter in groups.sparse)
    parameters = hidden + other + tables
    # The weights of an image codec are there too, but get nothing else.
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    memory = {
        "weights": 4 * (parameters + frozen),
        "gradients": 4 * (hidden + other),
        "optimizer": sum(tensor.nbytes for tensor in optimizers.state().values()),
        "average": 4 * parameters if config.optim.ema_decay else 0,
        "activations": _activations(config, placement),
    }
    return memory | {"total": sum(memory.values())}


def _activations(config: Config, placement: Placement) -> int:
    """Bytes that the backward pass of one micro-batch keeps, traced on tensors without data."""
    train = config.train
    rows = max(1, (train.micro_batch_bytes or train.batch_bytes) // train.window)
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.device("meta"):
        model = NeatModel(config)
    with FakeTensorMode(allow_non_fake_inputs=True):
        # Drawing weights asks for values, which these tensors do not have.
        model = model.to_empty(device="cpu")
        # Which positions halt is not known either: room for all of them.
        model.latent.skips_halted = False
        weights = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        batch = _empty_batch(config, rows)
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=placement.dtype == torch.bfloat16),
        ):
            objective(model.outputs(batch), batch, config)
    return sum(size for key, size in kept.items() if key not in weights)


def _empty_batch(config: Config, rows: int) -> Batch:
    window = config.train.window
    slots = config.patch_slots(window)
    tables = len(config.network.hash_orders)

    def positions(dtype: torch.dtype = torch.int64) -> torch.Tensor:
        return torch.zeros(rows, window, dtype=dtype)

    def patches(dtype: torch.dtype = torch.int64) -> torch.Tensor:
        return torch.zeros(rows, slots, dtype=dtype)

    return Batch(
        ids=positions(),
        targets=positions(),
        document=positions(torch.int32),
        patch=positions(),
        read=positions(),
        patch_document=patches(torch.int32),
        patch_first=patches(),
        patch_last=patches(),
        patch_length=patches(torch.int32),
        hashes=torch.zeros(rows, window, tables, dtype=torch.int64) if tables else None,
        features=torch.zeros(rows, window, 256, dtype=torch.float16) if config.network.ngram_features else None,
        codes=positions() if config.vision.on else None,
        cell=positions() if config.vision.on else None,
        code_targets=patches() if config.vision.on else None,
    )


def _time(config: Config, per_byte: float, num_bytes: int | None, placement: Placement) -> dict[str, float] | None:
    """Seconds of training at several shares of the measured rate; the budget itself when the length is a time."""
    if config.train.budget_s is not None:
        return {"budget": config.train.budget_s}
    if num_bytes is None:
        return None
    rate = matrix_rate(placement)
    return {
        f"at {share:.0%} of {rate / 1e12:.2f} TFLOP/s": per_byte * num_bytes / rate / share for share in UTILISATIONS
    }


def matrix_rate(placement: Placement, size: int = 2048, seconds: float = 0.3) -> float:
    """Operations per second of square matrix products on the device, measured now."""
    a = torch.randn(size, size, device=placement.device, dtype=placement.dtype)
    best, until = 0.0, time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        float((a @ a)[0, 0])
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
        if time.perf_counter() > until:
            return best
