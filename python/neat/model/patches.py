"""Between the two clocks: bytes into patches before the latent transformer, patches back to bytes after it.

B rows, N positions, P patch slots, D latent width, E local width, M = D / E vectors per patch, L longest patch.
The invariant that keeps the model causal: a position reads only the last patch that is closed when its target is
generated (`Batch.read`), never the one its target belongs to.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.model.batch import Batch
from neat.model.cache import Cache, keep_last, num_valid
from neat.model.layers import SplitLinear, rms_norm


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    """Picks `x[b, index[b, i]]`: [B, R, D] by [B, I] -> [B, I, D]; its gradient is one row-wise addition."""
    batch, rows, width = x.shape
    flat = index + torch.arange(batch, device=index.device)[:, None] * rows
    return x.reshape(batch * rows, width).index_select(0, flat.view(-1)).view(batch, -1, width)


def mean_by_patch(x: Tensor, batch: Batch) -> Tensor:
    """Mean of the vectors of each patch, [B, N, E] -> [B, P, E]; unused slots are zero."""
    rows, slots = batch.patch_length.shape
    flat = batch.patch + torch.arange(rows, device=x.device)[:, None] * slots
    total = x.new_zeros(rows * slots, x.shape[-1]).index_add(0, flat.view(-1), x.reshape(-1, x.shape[-1]))
    count = batch.patch_length.clamp(min=1).to(x.dtype)
    used = (batch.patch_length > 0).to(x.dtype)
    return total.view(rows, slots, -1) * (used / count)[..., None]


def new_open_patch(rows: int, max_length: int, like: Tensor) -> Cache:
    """Room for the bytes [B, L, E] of the patch that `rows` streams are in, the newest last, and for their number."""
    return {
        "members": like.new_zeros(rows, max_length, like.shape[-1]),
        "length": torch.zeros(rows, dtype=torch.int64, device=like.device),
    }


def continue_patch(x: Tensor, batch: Batch, cache: Cache) -> tuple[Tensor, Batch]:
    """Puts the bytes of the open patch before the new ones [B, N, E], so that a pool sees slot 0 as a whole.

    Returns:
        The bytes [B, L + N, E] and a batch with their patches; the cache then holds the patch that is open after them.
    """
    members, length = cache["members"], cache["length"]
    kept, slots = members.shape[1], batch.patch_length.shape[1]
    first = F.pad(length[:, None], (0, slots - 1))
    belongs = torch.arange(kept, device=x.device) >= kept - length[:, None]
    widened = replace(
        batch,
        patch=torch.cat((torch.where(belongs, 0, slots - 1), batch.patch), dim=1),
        patch_first=batch.patch_first + kept - first,
        patch_last=batch.patch_last + kept,
        patch_length=batch.patch_length + first,
    )
    closed = num_valid(batch.patch_document)
    still_open = ((batch.patch == closed[:, None]) & (batch.document >= 0)).sum(1)
    cache["length"] = still_open + torch.where(closed == 0, length, 0)
    cache["members"] = keep_last(members, x, num_valid(batch.document))
    return torch.cat((members.to(x.dtype), x), dim=1), widened


class LastMeanPool(nn.Module):
    """Patch vector from its last byte and the mean of its bytes, [B, N, E] -> [B, P, D]."""

    def __init__(self, local_width: int, width: int) -> None:
        super().__init__()
        self.project = SplitLinear(2 * local_width, (width,))

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """Pools the bytes of each patch slot."""
        last = gather_rows(x, batch.patch_last)
        vectors: Tensor = self.project(torch.cat((last, mean_by_patch(x, batch)), dim=-1))
        return vectors


class CrossAttentionPool(nn.Module):
    """BLT's pooling (arXiv 2412.09871, section 3.2.2): queries from the patch maximum attend to its own bytes.

    M queries per patch of width E, heads of width E / heads, no rotation, output [B, P, D]. Bytes are laid out as
    [B, P, L], so the attention is dense and small.
    """

    def __init__(self, local_width: int, width: int, heads: int, max_length: int) -> None:
        super().__init__()
        self.local_width, self.queries, self.heads, self.max_length = (
            local_width,
            width // local_width,
            heads,
            max_length,
        )
        self.query = nn.Linear(local_width, width, bias=False)
        self.key_value = SplitLinear(local_width, (local_width, local_width))
        self.out = nn.Linear(local_width, local_width, bias=False)

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """Pools the bytes of each patch slot; unused slots are finite and never read."""
        rows, slots = batch.patch_length.shape
        offset = torch.arange(self.max_length, device=x.device)
        inside = offset < batch.patch_length[..., None]
        position = torch.where(inside, batch.patch_first[..., None] + offset, 0)
        members = gather_rows(x, position.view(rows, -1)).view(rows, slots, self.max_length, -1)
        used = inside.any(-1, keepdim=True)
        highest = members.masked_fill(~inside[..., None], -torch.inf).amax(2)
        highest = torch.where(used, highest, torch.zeros_like(highest))
        queries = self.query(highest).view(rows, slots, self.queries, self.local_width)
        vectors: Tensor = (queries + self._attend(queries, members, inside | ~used)).flatten(2)
        return vectors

    def _attend(self, queries: Tensor, members: Tensor, allowed: Tensor) -> Tensor:
        rows, slots = queries.shape[:2]
        key, value = self.key_value(rms_norm(members)).chunk(2, dim=-1)
        query = _split_heads(rms_norm(queries), self.heads).to(key.dtype)
        mixed = F.scaled_dot_product_attention(
            query,
            _split_heads(key, self.heads),
            _split_heads(value, self.heads),
            attn_mask=allowed.view(rows * slots, 1, 1, -1),
        )
        merged = mixed.transpose(1, 2).reshape(rows, slots, self.queries, self.local_width)
        attended: Tensor = self.out(merged)
        return attended


def _split_heads(x: Tensor, heads: int) -> Tensor:
    """[B, P, R, E] -> [B * P, heads, R, E / heads]."""
    rows, slots, num, width = x.shape
    return x.reshape(rows * slots, num, heads, width // heads).transpose(1, 2)


class AddRead(nn.Module):
    """Adds a projection of the closed patch's latent vector to each byte, -> [B, N, E]."""

    def __init__(self, local_width: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, local_width, bias=False)

    def forward(self, x: Tensor, latent: Tensor, batch: Batch) -> Tensor:
        """What `x` gains from the latent vectors [B, P, D]."""
        return gather_rows(self.project(rms_norm(latent)), batch.read).to(x.dtype)


class CrossAttentionRead(nn.Module):
    """Each byte attends to the M vectors of its closed patch (arXiv 2412.09871, section 3.3), -> [B, N, E].

    With one patch per byte the keys are a gather, [B, N, M, E], and the softmax runs over M.
    """

    def __init__(self, local_width: int, width: int, heads: int) -> None:
        super().__init__()
        self.vectors, self.heads, self.local_width = width // local_width, heads, local_width
        self.query = nn.Linear(local_width, local_width, bias=False)
        self.key_value = SplitLinear(local_width, (local_width, local_width))
        self.out = nn.Linear(local_width, local_width, bias=False)

    def forward(self, x: Tensor, latent: Tensor, batch: Batch) -> Tensor:
        """What `x` gains from the latent vectors [B, P, D]."""
        rows, slots = latent.shape[:2]
        parts = rms_norm(latent.view(rows, slots, self.vectors, self.local_width))
        key, value = self.key_value(parts).chunk(2, dim=-1)
        shape = (rows, -1, self.vectors, self.heads, self.local_width // self.heads)
        key = gather_rows(key.flatten(2), batch.read).view(shape)
        value = gather_rows(value.flatten(2), batch.read).view(shape)
        query = self.query(rms_norm(x)).view(rows, -1, 1, self.heads, shape[-1])
        weight = ((query * key).sum(-1, keepdim=True) * shape[-1] ** -0.5).softmax(dim=2)
        attended: Tensor = self.out((weight * value).sum(2).flatten(2))
        return attended
