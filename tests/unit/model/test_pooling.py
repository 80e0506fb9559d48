"""Bytes into patches and patches back to bytes, against loops over patches and heads."""

from __future__ import annotations

import math

import pytest
import torch
from support.networks import MAX_PATCH, network, scatter
from support.text import packed, prose
from torch import Tensor

from neat.model.batch import Batch
from neat.model.patches import AddRead, CrossAttentionPool, CrossAttentionRead, LastMeanPool, gather_rows, mean_by_patch

LOCAL, WIDTH, HEADS = 8, 16, 2


@pytest.fixture
def batch() -> Batch:
    """Three documents, padding, unused patch slots."""
    return packed(network(), [prose(1, 4), b"x", prose(2, 6)], 96)


def members(batch: Batch, row: int) -> list[list[int]]:
    """Positions of every used patch."""
    return [(batch.patch[row] == slot).nonzero().flatten().tolist() for slot in used(batch, row)]


def used(batch: Batch, row: int) -> list[int]:
    """Slots that hold a patch, found from the positions alone."""
    return batch.patch[row][batch.document[row] >= 0].unique().tolist()


def norm(x: Tensor) -> Tensor:
    """Root-mean-square norm, written out."""
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Multi-head attention of [Q, E] to [K, E] without mask or rotation, one head after the other."""
    size = LOCAL // HEADS
    parts = []
    for head in range(HEADS):
        at = slice(head * size, (head + 1) * size)
        parts.append((queries[:, at] @ keys[:, at].T / math.sqrt(size)).softmax(-1) @ values[:, at])
    return torch.cat(parts, dim=-1)


def test_gather_rows() -> None:
    x, index = torch.randn(2, 3, 4), torch.tensor([[2, 2, 0, 1, 1], [0, 1, 2, 0, 0]])
    picked = gather_rows(x, index)
    for row in range(2):
        for at in range(5):
            assert torch.equal(picked[row, at], x[row, index[row, at]])


def test_last_and_mean(batch: Batch) -> None:
    module = LastMeanPool(LOCAL, WIDTH).double()
    x = torch.randn(1, 96, LOCAL, dtype=torch.float64)
    vectors = module(x, batch)
    for slot, inside in zip(used(batch, 0), members(batch, 0), strict=True):
        expected = torch.cat((x[0, inside[-1]], x[0, inside].mean(0))) @ module.project.weight.T
        torch.testing.assert_close(vectors[0, slot], expected, rtol=0, atol=1e-12)


def test_unused_slots_have_no_mean(batch: Batch) -> None:
    means = mean_by_patch(torch.ones(1, 96, LOCAL), batch)
    empty = [slot for slot in range(means.shape[1]) if slot not in used(batch, 0)]
    assert empty[-1] == means.shape[1] - 1 and bool((batch.patch[0] == empty[-1]).any())
    assert not means[0, empty].any() and bool((means[0, used(batch, 0)] == 1).all())


def test_cross_attention_pool(batch: Batch) -> None:
    module = CrossAttentionPool(LOCAL, WIDTH, HEADS, MAX_PATCH).double()
    scatter(module)
    x = torch.randn(1, 96, LOCAL, dtype=torch.float64)
    vectors = module(x, batch)
    key, value = module.key_value.weight.split(LOCAL)
    for slot, inside in zip(used(batch, 0), members(batch, 0), strict=True):
        own = x[0, inside]
        queries = (module.query.weight @ own.amax(0)).view(WIDTH // LOCAL, LOCAL)
        mixed = attend(norm(queries), norm(own) @ key.T, norm(own) @ value.T)
        expected = (queries + mixed @ module.out.weight.T).flatten()
        torch.testing.assert_close(vectors[0, slot], expected, rtol=0, atol=1e-12)
    assert torch.isfinite(vectors).all()


def test_pooling_gives_finite_gradients_with_unused_slots(batch: Batch) -> None:
    module = CrossAttentionPool(LOCAL, WIDTH, HEADS, MAX_PATCH)
    x = torch.randn(1, 96, LOCAL, requires_grad=True)
    module(x, batch).square().sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


def test_add_read(batch: Batch) -> None:
    module = AddRead(LOCAL, WIDTH).double()
    latent = torch.randn(*batch.patch_length.shape, WIDTH, dtype=torch.float64)
    read = module(torch.randn(1, 96, LOCAL, dtype=torch.float64), latent, batch)
    for at in range(96):
        expected = norm(latent[0, batch.read[0, at]]) @ module.project.weight.T
        torch.testing.assert_close(read[0, at], expected, rtol=0, atol=1e-12)


def test_cross_attention_read(batch: Batch) -> None:
    module = CrossAttentionRead(LOCAL, WIDTH, HEADS).double()
    scatter(module)
    x = torch.randn(1, 96, LOCAL, dtype=torch.float64)
    latent = torch.randn(*batch.patch_length.shape, WIDTH, dtype=torch.float64)
    read = module(x, latent, batch)
    key, value = module.key_value.weight.split(LOCAL)
    for at in range(96):
        vectors = norm(latent[0, batch.read[0, at]].view(WIDTH // LOCAL, LOCAL))
        query = norm(x[0, at : at + 1]) @ module.query.weight.T
        expected = attend(query, vectors @ key.T, vectors @ value.T) @ module.out.weight.T
        torch.testing.assert_close(read[0, at], expected[0], rtol=0, atol=1e-12)
