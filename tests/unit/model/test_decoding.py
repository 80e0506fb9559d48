"""Reading on from a cache: the outputs of one full forward pass, whatever way a text is cut."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.networks import NETWORKS, PATCHED, network, scatter, scattered, whole
from support.streams import chunk, read_in_chunks
from support.text import RULES, forward, noise, prose, rows

from neat.config.load import load
from neat.model.batch import Batch
from neat.model.cache import fork, leaves, put, select
from neat.model.neat import NeatModel

TEXTS = [prose(5, 12)[:60], noise(3, 40), prose(6, 12)[:57], b"q"]
LENGTHS = [len(text) for text in TEXTS]
# Tables are float64 for a float64 model, so nothing but the order of sums differs.
EXACT = 1e-9


def documents(name: str, rule: str = "global") -> Batch:
    """The texts, one a row."""
    return rows(NETWORKS[name], TEXTS, 64, rule)


def assert_same(found: torch.Tensor, expected: torch.Tensor, tolerance: float = EXACT) -> None:
    """Compares the positions of the documents."""
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(found[row, :length], expected[row, :length], rtol=0, atol=tolerance)


def cuts_of(*positions: int) -> list[list[int]]:
    """Every row is cut at the same positions, as far as it goes."""
    return [[min(position, length) for length in LENGTHS] for position in (*positions, 64)]


@pytest.mark.parametrize("name", NETWORKS)
def test_byte_by_byte_equals_one_pass(name: str) -> None:
    model, batch = scattered(NETWORKS[name]), documents(name)
    found = read_in_chunks(model, batch, cuts_of(*range(1, 64)), model.new_cache(len(TEXTS)))
    assert_same(found, forward(model, batch))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("positions", [(), (1, 17, 18, 49), (7, 14, 21, 28, 35, 42, 49, 56)])
def test_chunks_equal_one_pass(name: str, positions: tuple[int, ...]) -> None:
    model, batch = scattered(NETWORKS[name]), documents(name)
    found = read_in_chunks(model, batch, cuts_of(*positions), model.new_cache(len(TEXTS)))
    assert_same(found, forward(model, batch))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", list(PATCHED)[::5])
@given(data=st.data())
@settings(max_examples=2, deadline=None)
def test_rows_go_on_at_their_own_pace(name: str, rule: str, data: st.DataObject) -> None:
    """Some rows wait while others read many bytes, so they close patches at different times."""
    model, batch = scattered(NETWORKS[name]), documents(name, rule)
    at, cuts = [0] * len(TEXTS), []
    while at != LENGTHS:
        steps = data.draw(st.lists(st.sampled_from([0, 0, 1, 2, 9, 30]), min_size=len(at), max_size=len(at)))
        at = [min(start + step, length) for start, step, length in zip(at, steps, LENGTHS, strict=True)]
        if not any(steps):
            at = [min(start + 1, length) for start, length in zip(at, LENGTHS, strict=True)]
        cuts.append(at)
    found = read_in_chunks(model, batch, cuts, model.new_cache(len(TEXTS)))
    assert_same(found, forward(model, batch))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_that_reads_nothing_keeps_its_cache_bit_for_bit(name: str) -> None:
    model, batch = scattered(NETWORKS[name]), documents(name)
    cache = model.new_cache(len(TEXTS))
    read_in_chunks(model, batch, [[20, 20, 20, 1]], cache)
    before = fork(cache)
    with torch.inference_mode():
        model.read_on(chunk(batch, [20, 20, 20, 1], [20, 33, 20, 1]), cache)
    moved = []
    for (leaf, old), (_, new) in zip(leaves(before), leaves(cache), strict=True):
        assert torch.equal(old[0::2], new[0::2]) and torch.equal(old[3], new[3]), leaf
        moved.append(not torch.equal(old[1], new[1]))
    assert any(moved)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_fork_leaves_the_original_as_it_was(name: str) -> None:
    model, batch = scattered(NETWORKS[name]), documents(name)
    cache = model.new_cache(len(TEXTS))
    read_in_chunks(model, batch, [[20, 20, 20, 1]], cache)
    copies = {leaf: value.clone() for leaf, value in leaves(cache)}
    other = fork(cache)
    with torch.inference_mode():
        model.read_on(chunk(batch, [20, 20, 20, 1], [50, 33, 21, 1]), other)
    for leaf, value in leaves(cache):
        assert torch.equal(value, copies[leaf]), leaf


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_can_be_picked_and_put_back(name: str) -> None:
    """A row read in a cache of its own and put back goes on as if it had stayed."""
    model, batch = scattered(NETWORKS[name]), documents(name)
    cache = model.new_cache(len(TEXTS))
    read_in_chunks(model, batch, [[20, 20, 20, 1]], cache)
    picked = torch.tensor([2])
    alone = select(cache, picked)
    with torch.inference_mode():
        model.read_on(chunk(batch.rows(2, 3), [20], [31]), alone)
        cache = put(cache, picked, alone)
        found = model.read_on(chunk(batch, [20, 20, 31, 1], [30, 20, 57, 1]), cache).logits
    expected = forward(model, batch)
    torch.testing.assert_close(found[2, : 57 - 31], expected[2, 31:57], rtol=0, atol=EXACT)
    torch.testing.assert_close(found[0, :10], expected[0, 20:30], rtol=0, atol=EXACT)


def test_what_a_cache_holds_does_not_grow() -> None:
    shape = network(window=3, local_window=5, encoder_mixer="attention", decoder_mixer="attention")
    model, batch = scattered(shape), rows(shape, TEXTS, 64)
    cache = model.new_cache(len(TEXTS))
    sizes = [value.shape for _, value in leaves(cache)]
    read_in_chunks(model, batch, cuts_of(1, 30), cache)
    assert [value.shape for _, value in leaves(cache)] == sizes


SHRUNKEN = {
    "tiny": ["network.hash_rows=97"],
    "100m": [
        *("network.width=48", "network.layers=3", "network.heads=2", "network.kv_heads=2", "network.ffn_width=32"),
        *("network.local_width=24", "network.local_heads=2", "network.hash_rows=97", "network.window=6"),
        *("network.encoder_ffn_width=16", "network.decoder_ffn_width=16", "network.local_window=9"),
    ],
}


@pytest.mark.parametrize("preset", SHRUNKEN)
def test_presets_in_float32(preset: str) -> None:
    """The switches of a preset in the precision that a user has; 100m is made smaller and its windows shorter."""
    config = load(preset, SHRUNKEN[preset]).config
    model = NeatModel(config).eval()
    scatter(model, std=0.2)
    batch = rows(config.network, TEXTS, 64)
    expected = forward(model, batch)
    for positions in ((1, 5, 30), tuple(range(1, 64, 3))):
        found = read_in_chunks(model, batch, cuts_of(*positions), model.new_cache(len(TEXTS)))
        assert_same(found, expected, 1e-4)


def test_positions_far_into_a_stream_stay_exact() -> None:
    """In float32 the angle of position 260 000 is known to two digits; what is attended to depends on it to seven."""
    shape = network(patches=False, window=8, hash_orders=(), ngram_features=False)
    model = NeatModel(whole(shape)).eval()
    scatter(model, std=0.3)
    text = rows(shape, [prose(1, 6)[:30]], 31, "byte")
    near, far = model.new_cache(1), model.new_cache(1)
    far["latent"]["clock"]["length"] += 260_000
    found = [read_in_chunks(model, text, [[12], [13], [30]], cache) for cache in (near, far)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-4)
