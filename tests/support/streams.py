"""Chunks of documents cut out of their whole rows: what a reader must produce, and what a cache must continue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.cache import Cache
from neat.model.neat import NeatModel
from neat.model.vocabulary import PAD


def closes(batch: Batch) -> Tensor:
    """Whether a patch ends at each position, [B, N]: it can be read there."""
    return (batch.read == batch.patch) & (batch.document >= 0)


def chunk(batch: Batch, starts: Sequence[int], stops: Sequence[int]) -> Batch:
    """The positions [start, stop) of each row, one document a row, as a batch that continues its stream."""
    rows = [_row(batch, row, start, stop) for row, (start, stop) in enumerate(zip(starts, stops, strict=True))]
    longest = max(len(row["ids"]) for row in rows)
    most = max(len(row["patch_first"]) for row in rows)
    fill: dict[str, Any] = {
        "ids": PAD, "targets": IGNORED_TARGET, "document": -1, "patch": most, "read": 0, "hashes": 0, "features": 0,
        "patch_document": -1, "patch_first": 0, "patch_last": 0, "patch_length": 0,
    }  # fmt: skip
    sizes = {name: most + 1 if name.startswith("patch_") else longest for name in fill}
    made: dict[str, Any] = {
        name: torch.stack([_padded(row[name], sizes[name], fill[name]) for row in rows]) for name in rows[0]
    }
    return replace(batch, **made)


def _row(batch: Batch, row: int, start: int, stop: int) -> dict[str, Tensor]:
    inside = slice(start, stop)
    ends = closes(batch)[row]
    closed = int(ends[inside].sum())
    optional = [name for name in ("hashes", "features") if getattr(batch, name) is not None]
    names = ["ids", "targets", "document", *optional]
    found = {name: getattr(batch, name)[row, inside] for name in names}
    found["patch"] = batch.patch[row, inside] - ends[:start].sum()
    found["read"] = ends[inside].cumsum(0)
    members = [(found["patch"] == slot).nonzero().flatten() for slot in range(closed)]
    found["patch_first"] = torch.tensor([int(m[0]) for m in members], dtype=torch.int64)
    found["patch_last"] = torch.tensor([int(m[-1]) for m in members], dtype=torch.int64)
    found["patch_length"] = torch.tensor([len(m) for m in members], dtype=torch.int32)
    found["patch_document"] = torch.zeros(closed, dtype=torch.int32)
    return found


def _padded(x: Tensor, size: int, fill: float) -> Tensor:
    rest = torch.full((size - len(x), *x.shape[1:]), fill, dtype=x.dtype)
    return torch.cat((x, rest))


def read_in_chunks(model: NeatModel, batch: Batch, cuts: Sequence[Sequence[int]], cache: Cache) -> Tensor:
    """Logits of all positions, [B, N, V], each chunk read on from the one before.

    Args:
        model: The network.
        batch: One document a row.
        cuts: For each chunk, the position of every row after it.
        cache: Continued.
    """
    at = [0] * batch.num_rows
    logits = torch.zeros(*batch.ids.shape, model.head.out_features, dtype=model.head.weight.dtype)
    for stops in cuts:
        if list(stops) == at:
            continue
        with torch.inference_mode():
            found = model.read_on(chunk(batch, at, stops), cache).logits
        for row, (start, stop) in enumerate(zip(at, stops, strict=True)):
            logits[row, start:stop] = found[row, : stop - start]
        at = list(stops)
    return logits
