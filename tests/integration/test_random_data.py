"""Eight thousand random bytes through the whole network in bfloat16: everything stays finite, memories bounded."""

from __future__ import annotations

import pytest
import torch
from support.networks import network, whole
from support.text import noise, rows

from neat.config.schema import Memory, Recursion
from neat.model.losses import objective
from neat.model.neat import NeatModel

POSITIONS = 8192


@pytest.mark.parametrize("variant", ["mag", "mac", "mal", "lmm"])
@pytest.mark.parametrize("what", ["noise", "one byte", "two bytes"])
def test_a_long_row_of_bytes_without_sense(variant: str, what: str) -> None:
    text = {"noise": noise(3, POSITIONS), "one byte": b"a" * POSITIONS, "two bytes": b"ab" * (POSITIONS // 2)}[what]
    shape = network(window=16, local_window=16)
    memory = Memory.model_validate({"variant": variant, "heads": 2, "hidden": 16, "chunk": 64, "layers": (2,)})
    config = whole(shape, memory=memory, recursion=Recursion(depth=2))
    torch.manual_seed(0)
    model = NeatModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            # What starts at zero takes part, too.
            if not parameter.any():
                parameter.normal_(std=0.1)
    norms: list[float] = []
    batch = rows(shape, [text], POSITIONS, "stride")

    def note(name: str, value: torch.Tensor) -> None:
        if name == "memory/norm":
            norms.append(float(value))

    with model.observed(note), torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model.outputs(batch)
    total, _ = objective(outputs, batch, config)
    (total / POSITIONS).backward()
    assert bool(outputs.logits.isfinite().all())
    assert all(bool(p.grad.to_dense().isfinite().all()) for p in model.parameters() if p.grad is not None)
    assert len(norms) == 1 and 0 < norms[0] < 50
