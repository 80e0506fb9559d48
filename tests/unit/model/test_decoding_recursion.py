"""Reading on from a cache with recursion, halting and the levers on: every application keeps its own keys."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.networks import network, scattered
from support.streams import chunk, read_in_chunks
from support.text import forward, noise, prose, rows

from neat.config.schema import Memory, Recursion
from neat.model.cache import fork, leaves

TEXTS = [prose(5, 12)[:60], noise(3, 40), prose(6, 12)[:57], b"q"]
LENGTHS = [len(text) for text in TEXTS]
LEVERS: dict[str, Any] = {
    "qk_gain": 2.0, "kv_conv": 3, "xsa": True, "attention_gate": True, "unet_skips": True, "rope_share": 0.5,
    "activation": "leaky_relu2",
}  # fmt: skip
DEEP = {"depth": 3, "halting": True}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "recursion": ({}, {"depth": 3, "micro_steps": 2}),
    "halting": ({}, DEEP),
    "halting in a window": ({"window": 3, "kv_heads": 1}, DEEP),
    "flat with halting": ({"patches": False, "window": 5}, {**DEEP, "micro_steps": 2}),
    "halting at once": ({}, {**DEEP, "halt_threshold": 1e-12}),
    "levers": ({**LEVERS, "layers": 5, "window": 3}, {}),
    "flat with levers": ({**LEVERS, "layers": 5, "patches": False}, {}),
    "levers and halting": ({**LEVERS, "layers": 4, "kv_heads": 1, "window": 4}, DEEP),
    "levers in a loop": ({**LEVERS, "layers": 3, "loop_middle": 0.1}, {"depth": 2}),
    "everything": ({**LEVERS, "layers": 3, "loop_middle": 0.1, "window": 5}, {**DEEP, "micro_steps": 2}),
}


def cuts_of(*positions: int) -> list[list[int]]:
    return [[min(position, length) for length in LENGTHS] for position in (*positions, 64)]


UNEVEN = [[9, 0, 1, 0], [9, 5, 2, 1], [30, 5, 3, 1], [31, 40, 3, 1], [60, 40, 57, 1]]


@pytest.mark.parametrize("cuts", [cuts_of(*range(1, 64)), UNEVEN], ids=["bytes", "own"])
@pytest.mark.parametrize("name", CASES)
def test_chunks_equal_one_pass(name: str, cuts: list[list[int]]) -> None:
    changes, recursion = CASES[name]
    shape = network(**changes)
    memory = Memory.model_validate({"variant": "mag", "heads": 2, "hidden": 4, "chunk": 4} if "loop" in name else {})
    model = scattered(shape, recursion=Recursion.model_validate(recursion), memory=memory)
    model.latent.progress(1, 1)
    batch = rows(shape, TEXTS, 64)
    found = read_in_chunks(model, batch, cuts, model.new_cache(len(TEXTS)))
    expected = forward(model, batch)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(found[row, :length], expected[row, :length], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["halting in a window", "flat with halting", "everything"])
def test_a_row_that_reads_nothing_keeps_its_cache_bit_for_bit(name: str) -> None:
    changes, recursion = CASES[name]
    shape = network(**changes)
    model = scattered(shape, recursion=Recursion.model_validate(recursion))
    batch, cache = rows(shape, TEXTS, 64), model.new_cache(len(TEXTS))
    read_in_chunks(model, batch, [[20, 20, 20, 1]], cache)
    before = fork(cache)
    with torch.inference_mode():
        model.read_on(chunk(batch, [20, 20, 20, 1], [20, 33, 20, 1]), cache)
    for (_, old), (_, new) in zip(leaves(before), leaves(cache), strict=True):
        assert torch.equal(old[[0, 2, 3]], new[[0, 2, 3]])
