"""A memory that is continued in parts reads what it would have read in one go."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.memories import random_weights, random_writes, slow_row
from support.networks import network, scatter, whole
from torch import Tensor

from neat.config.memory import Memory as Settings
from neat.model.cache import leaves
from neat.model.memory.module import Memory, make_recall
from neat.model.memory.stream import new_stream, resume
from neat.model.memory.terms import Rule, Writes

HEADS, WIDTH, HIDDEN, CHUNK, NUM = 2, 4, 5, 4, 19
RULE = Rule(0.3, True, 1.1, torch.float64)


def stream(writes: Writes, parts: list[int], phase: int = 0) -> Tensor:
    """Reads of one row fed in parts."""
    cache = new_stream(random_weights(HEADS, WIDTH, HIDDEN), 1, gram=True)
    cache["phase"] = cache["phase"] + phase
    reads = []
    for part in _cut(writes, parts):
        count = torch.tensor([part.rate.shape[2]])
        reads.append(resume(cache, part, count, CHUNK, RULE))
    return torch.cat(reads, dim=2)


def _cut(writes: Writes, parts: list[int]) -> list[Writes]:
    return [Writes(*cut) for cut in zip(*(torch.split(tensor, parts, dim=2) for tensor in writes), strict=True)]


@pytest.mark.parametrize("phase", [0, 3])
@pytest.mark.parametrize("parts", [[NUM], [1] * NUM, [5, 1, 8, 2, 3], [4] * 4 + [3]], ids=str)
def test_any_division_equals_the_recurrence(parts: list[int], phase: int) -> None:
    torch.manual_seed(7)
    fresh, writes = random_weights(HEADS, WIDTH, HIDDEN), random_writes(1, HEADS, NUM, WIDTH)
    torch.manual_seed(7)
    mine = stream(writes, parts, phase)
    plain = slow_row(fresh, writes, [0] * NUM, CHUNK, RULE, phase)
    torch.testing.assert_close(mine, plain, rtol=1e-11, atol=1e-11)


def ready(**changes: Any) -> Memory:
    settings = {"variant": "mag", "heads": HEADS, "hidden": HIDDEN, "chunk": CHUNK} | changes
    memory = Memory(whole(network(), memory=Settings.model_validate(settings))).double()
    scatter(memory)
    return memory


def in_one_go(memory: Memory, x: Tensor) -> Tensor:
    document = torch.zeros(x.shape[:2], dtype=torch.int32)
    found: Tensor = memory(x, make_recall(document, memory.settings, x.dtype))
    return found


def feed(memory: Memory, cache: dict[str, Any], x: Tensor, count: list[int]) -> Tensor:
    """The next patches of each row, of which `count` are real and the rest hold what must not matter."""
    document = torch.where(torch.arange(x.shape[1]) < torch.tensor(count)[:, None], 0, -1)
    found: Tensor = memory(x, make_recall(document, memory.settings, x.dtype, cached=True), cache)
    return found


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=6))
@pytest.mark.parametrize("taps", [1, 4])
def test_rows_that_advance_at_their_own_pace(taps: int, counts: list[tuple[int, int, int]]) -> None:
    memory = ready(conv_taps=taps)
    x = torch.randn(3, sum(max(count) for count in counts) + 1, 16, dtype=torch.float64)
    with torch.no_grad():
        expected = in_one_go(memory, x)
        cache, at = memory.new_cache(3), [0, 0, 0]
        for count in counts:
            num = max(1, *count)
            part = torch.full((3, num, 16), 9.0, dtype=torch.float64)
            for row in range(3):
                part[row, : count[row]] = x[row, at[row] : at[row] + count[row]]
            found = feed(memory, cache, part, list(count))
            for row in range(3):
                torch.testing.assert_close(
                    found[row, : count[row]], expected[row, at[row] : at[row] + count[row]], rtol=0, atol=1e-10
                )
                at[row] += count[row]


@pytest.mark.parametrize("num", [1, 3])
def test_a_row_without_new_patches_keeps_its_state_bit_for_bit(num: int) -> None:
    memory = ready()
    cache = memory.new_cache(2)
    with torch.no_grad():
        feed(memory, cache, torch.randn(2, 6, 16, dtype=torch.float64), [6, 5])
        kept, old = dict(leaves(cache)), {name: leaf.clone() for name, leaf in leaves(cache)}
        feed(memory, cache, torch.randn(2, num, 16, dtype=torch.float64), [num, 0])
    for name, leaf in leaves(cache):
        assert torch.equal(leaf[1], old[name][1]), name
        assert torch.equal(kept[name], old[name]), "a fork must not change"
        assert not torch.equal(leaf[0], old[name][0]) or name.startswith("start"), name


def test_every_leaf_has_a_row_per_stream() -> None:
    assert all(leaf.shape[0] == 5 for _, leaf in leaves(ready().new_cache(5)))


def test_a_document_in_a_row_equals_the_document_alone_at_the_same_place_of_its_chunk() -> None:
    memory = ready()
    document = torch.tensor([[0] * 6 + [1] * 9])
    x = torch.randn(1, 15, 16, dtype=torch.float64)
    with torch.no_grad():
        packed = memory(x, make_recall(document, memory.settings, x.dtype))
        cache = memory.new_cache(1)
        cache["phase"] = cache["phase"] + 6 % CHUNK
        alone = feed(memory, cache, x[:, 6:], [9])
        elsewhere = feed(memory, memory.new_cache(1), x[:, 6:], [9])
    torch.testing.assert_close(packed[:, 6:], alone, rtol=0, atol=1e-11)
    assert not torch.allclose(packed[:, 6:], elsewhere, atol=1e-6)


def test_half_precision_continues_like_half_precision() -> None:
    """The state is float32 whatever the projections are."""
    memory = ready().float()
    x = torch.randn(1, 11, 16)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = in_one_go(memory, x)
        cache = memory.new_cache(1)
        found = torch.cat([feed(memory, cache, part, [part.shape[1]]) for part in x.split([1, 4, 6], dim=1)], dim=1)
    assert {leaf.dtype for _, leaf in leaves(cache)} == {torch.float32, torch.int64}
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05)
