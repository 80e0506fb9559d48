"""Reading on from a cache with a memory: what it has learned goes on with the stream."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.networks import network, scattered
from support.streams import read_in_chunks
from support.text import forward, noise, prose, rows

from neat.config.schema import Memory

TEXTS = [prose(5, 12)[:60], noise(3, 40), b"q"]
LENGTHS = [len(text) for text in TEXTS]
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "mag": ({"window": 3}, {"variant": "mag", "gram": False, "conv_taps": 1}),
    "mal": ({"kv_heads": 1}, {"variant": "mal", "surprise_threshold": 0.9}),
    "mac": ({"window": 3, "kv_heads": 1}, {"variant": "mac", "persistent": 2}),
    "mac over the row": ({}, {"variant": "mac", "layers": (2,)}),
    "lmm": ({"window": 4}, {"variant": "lmm", "chunk": 1}),
    "flat mag": ({"patches": False, "window": 5}, {"variant": "mag", "persistent": 3, "chunk": 16}),
    "flat mac": ({"patches": False, "window": 5}, {"variant": "mac"}),
    "flat lmm": ({"patches": False, "window": 5}, {"variant": "lmm"}),
}
BYTES = [[min(position, length) for length in LENGTHS] for position in range(1, 65)]
UNEVEN = [[9, 0, 0], [9, 5, 1], [30, 5, 1], [31, 40, 1], [60, 40, 1]]


@pytest.mark.parametrize("cuts", [BYTES, UNEVEN], ids=["bytes", "own"])
@pytest.mark.parametrize("name", CASES)
def test_chunks_equal_one_pass(name: str, cuts: list[list[int]]) -> None:
    shape, memory = CASES[name]
    base = {"layers": (1, 2), "heads": 2, "hidden": 4, "chunk": 4}
    model = scattered(network(**shape), memory=Memory.model_validate(base | memory))
    batch = rows(network(**shape), TEXTS, 64, "byte" if "flat" in name else "global")
    found = read_in_chunks(model, batch, cuts, model.new_cache(len(TEXTS)))
    expected = forward(model, batch)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(found[row, :length], expected[row, :length], rtol=0, atol=1e-9)
