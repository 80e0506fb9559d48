"""The whole network, in float64 with every parameter away from zero, in every wiring and with every patch rule.

Boundaries, hashes and n-gram rows are made anew for every changed text, as they are in use.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.networks import FLAT, MAX_PATCH, NETWORKS, PATCHED, network, scattered, whole
from support.text import RULES, arrays, close, forward, noise, packed, prose, rows

from neat.model.losses import byte_loss
from neat.model.neat import NeatModel

TEXT = prose(5, 12)[:60]
# Positions of a packed document begin elsewhere, and rotary tables are float32.
MOVED = 2e-5


@pytest.mark.parametrize("name", PATCHED)
@pytest.mark.parametrize("rule", RULES)
def test_later_bytes_change_no_earlier_prediction(name: str, rule: str) -> None:
    _assert_causal(name, rule)


@pytest.mark.parametrize("name", FLAT)
def test_later_bytes_change_no_earlier_prediction_without_patches(name: str) -> None:
    _assert_causal(name, "byte")


def _assert_causal(name: str, rule: str) -> None:
    shape = NETWORKS[name]
    model = scattered(shape)
    cuts = [0, 1, 2, 3, 17, 18, 31, 59]
    texts = [TEXT] + [TEXT[:cut] + noise(cut, 60 - cut) for cut in cuts]
    logits = forward(model, rows(shape, texts, 64, rule))
    for row, cut in enumerate(cuts, start=1):
        # Position q predicts byte q: up to the first changed byte the prediction has seen nothing new.
        assert close(logits[row, : cut + 1], logits[0, : cut + 1]), cut
        if cut < 50:
            assert not close(logits[row, cut + 1 : 60], logits[0, cut + 1 : 60], 1e-3), cut


def test_changed_text_does_change_boundaries() -> None:
    """The tests above would say little if the patches stayed where they were."""
    for rule in ("global", "monotonic", "both", "space"):
        patches = arrays(network(), [TEXT, TEXT[:17] + noise(17, 43)], 64, rule)["patch"]
        assert (patches[0, 18:60] != patches[1, 18:60]).any(), rule


@pytest.mark.parametrize("name", NETWORKS)
def test_a_prefix_is_predicted_as_in_the_whole_text(name: str) -> None:
    """What generation relies on: it runs the network on ever longer prefixes."""
    shape = NETWORKS[name]
    model = scattered(shape)
    prefixes = [TEXT[:length] for length in (1, 2, 5, 16, 17, 40)]
    whole, *parts = forward(model, rows(shape, [TEXT, *prefixes], 64))
    for prefix, part in zip(prefixes, parts, strict=True):
        assert close(part[: len(prefix)], whole[: len(prefix)])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_does_not_depend_on_its_neighbours_or_its_padding(name: str) -> None:
    shape = NETWORKS[name]
    model = scattered(shape)
    length = len(TEXT)
    alone = forward(model, rows(shape, [TEXT], 64))[0, :length]
    beside = forward(model, rows(shape, [noise(1, 30), TEXT, b"x", prose(6, 8)], 64))[1, :length]
    padded = forward(model, rows(shape, [TEXT], 101, slots=77))[0, :length]
    assert close(beside, alone)
    assert close(padded, alone)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rule", ["global", "space"])
def test_packed_documents_are_predicted_like_each_one_alone(name: str, rule: str) -> None:
    shape = NETWORKS[name]
    model = scattered(shape)
    documents = [prose(7, 5), b"?", noise(2, 20), prose(8, 6)]
    together = forward(model, packed(shape, documents, 128, rule))[0]
    at = 0
    for document in documents:
        alone = forward(model, rows(shape, [document], 128, rule))[0, : len(document)]
        assert close(together[at : at + len(document)], alone, MOVED)
        at += len(document)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_document_before_changes_nothing_in_the_next_one(name: str) -> None:
    """Same places, another text: nothing to round, so nothing may move."""
    shape = NETWORKS[name]
    model = scattered(shape)
    second = prose(8, 6)
    both = [forward(model, packed(shape, [first, second], 128, "stride"))[0] for first in (noise(3, 33), noise(4, 33))]
    assert torch.equal(both[0][33 : 33 + len(second)], both[1][33 : 33 + len(second)])


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=4), st.sampled_from(RULES))
@settings(max_examples=60)
def test_patches_partition_a_row_and_are_closed_before_they_are_read(documents: list[bytes], rule: str) -> None:
    documents = [document for document in documents if document]
    batch = packed(network(), documents, 128, rule)
    real = batch.document[0] >= 0
    patch, read, length = batch.patch[0], batch.read[0], batch.patch_length[0]
    assert int(length.sum()) == int(real.sum()) == sum(map(len, documents))
    assert bool((patch[real].diff() >= 0).all()) and bool((patch[real].diff() <= 1).all())
    occupied = int((length > 0).sum())
    assert bool((length[:occupied] > 0).all()) and int(length.max()) <= MAX_PATCH
    for q in real.nonzero().flatten().tolist():
        slot = int(read[q])
        assert batch.patch_document[0, slot] == batch.document[0, q]
        assert int(batch.patch_last[0, slot]) <= q
        # It is the last closed one: the patch after it is open, or begins at the next position.
        following = slot + 1
        if length[following] and batch.patch_document[0, following] == batch.document[0, q]:
            assert int(batch.patch_last[0, following]) >= q or following == int(patch[q])


@pytest.mark.parametrize("name", [name for name, shape in NETWORKS.items() if shape.hash_orders])
def test_every_hash_row_that_is_read_gets_a_gradient(name: str) -> None:
    shape = NETWORKS[name]
    model = scattered(shape)
    batch = rows(shape, [TEXT, prose(9, 8)], 64)
    byte_loss(model(batch), batch.targets).backward()
    assert batch.hashes is not None and model.embedding.hash is not None
    gradient = model.embedding.hash.weight.grad
    assert gradient is not None
    reached = {row for row, g in zip(*_rows_of(gradient), strict=True) if g > 0}
    assert reached == set(batch.hashes[batch.document >= 0].flatten().tolist())


def _rows_of(gradient: torch.Tensor) -> tuple[list[int], list[float]]:
    sparse = gradient.coalesce()
    return sparse.indices()[0].tolist(), sparse.values().norm(dim=1).tolist()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    shape = NETWORKS[name]
    model = scattered(shape)
    batch = rows(shape, [TEXT], 64)
    byte_loss(model(batch), batch.targets).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.to_dense().any()]
    assert not silent


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_fresh_model_knows_nothing(name: str, features: bool) -> None:
    shape = NETWORKS[name].model_copy(update={"ngram_features": features})
    torch.manual_seed(3)
    batch = rows(shape, [prose(9, 9)[:60]], 64)
    loss = byte_loss(forward(NeatModel(whole(shape)), batch), batch.targets) / 60
    assert abs(float(loss) - math.log(256)) < 0.5
