"""Causal attention within a window and within a document, on any device.

B rows, N positions, D width, H heads, G key-value heads, K head width, W window. The invariant: position i
attends to positions j with i - W < j <= i of its own segment and to nothing else. Windows shorter than the row
are computed block by block, so that the cost is O(N * W) with plain `scaled_dot_product_attention`.

A stream is read on from a cache: R kept keys, already rotated by their place in the stream, and their values.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.model.cache import Cache, keep_last, last_places, num_valid
from neat.model.layers import SplitLinear, rms_norm


@dataclass(frozen=True, slots=True)
class Span:
    """Who may attend to whom, made once per forward pass and shared by all layers of one clock.

    Attributes:
        allowed: Boolean mask, [B, 1, N, R + N], or [B * blocks, 1, W, 2 * W] when `block` is set; `persistent` more
            columns, all allowed, at its end.
        block: Positions per block, or 0 for one full mask.
        cos: Rotary cosines, [N, K], or [B, 1, N, K] in a stream.
        sin: Rotary sines with the sign of the rotation, like `cos`.
        persistent: Learned key-value pairs that everybody attends to.
        places: Which of the R + N keys of a stream to keep, [B, R]; None outside a stream.
    """

    allowed: Tensor
    block: int
    cos: Tensor
    sin: Tensor
    persistent: int = 0
    places: Tensor | None = None


def make_span(
    document: Tensor,
    window: int,
    head_width: int,
    theta: float,
    persistent: int = 0,
    *,
    dtype: torch.dtype = torch.float32,
    clock: Cache | None = None,
) -> Span:
    """Builds the mask and the rotary tables for rows whose segments are `document` [B, N].

    Args:
        document: Segment number per position; padding (-1) attends to padding only.
        window: Positions a query reaches back to, itself included; 0 reaches the whole row.
        head_width: K, even.
        theta: Base of the rotary frequencies.
        persistent: Learned key-value pairs of each layer that will use it.
        dtype: Precision of the rotary tables.
        clock: What `new_clock` made, when the rows continue streams; moved on to after `document`.
    """
    num = document.shape[1]
    block = 0 if window == 0 or num <= window else window
    places = None
    if clock is None:
        cos, sin = _rotary_tables(torch.arange(num, device=document.device, dtype=dtype), head_width, theta)
        allowed = _block_mask(document, window) if block else _full_mask(document)
    else:
        before, new = clock["position"], _advance(clock, document)
        places = last_places(num_valid(document), before.shape[1])
        tables = _rotary_tables(_exact(new), head_width, theta)
        cos, sin = (table[:, None].to(document.device, dtype) for table in tables)
        allowed = _continued_blocks(document, before, window) if block else _continued_mask(new, before, window)
    if persistent:
        allowed = F.pad(allowed, (0, persistent), value=True)
    return Span(allowed, block, cos, sin, persistent, places)


def table_dtype(x: Tensor) -> torch.dtype:
    """Precision of the rotary tables for vectors `x`: float32, and float64 for float64."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def new_clock(rows: int, kept: int, device: torch.device) -> Cache:
    """Where streams stand at their beginning, for all layers that share a span.

    `length` [B] counts positions read, `position` [B, R] holds the place of each kept key, -1 where there is none yet.
    """
    return {
        "length": torch.zeros(rows, dtype=torch.int64, device=device),
        "position": torch.full((rows, kept), -1, dtype=torch.int64, device=device),
    }


def _advance(clock: Cache, document: Tensor) -> Tensor:
    """Moves the clock on; the places of the new positions in their streams, -1 where `document` is, int64 [B, N]."""
    count, length, kept = num_valid(document), clock["length"], clock["position"]
    new = torch.where(document >= 0, length[:, None] + torch.arange(document.shape[1], device=document.device), -1)
    clock["length"], clock["position"] = length + count, keep_last(kept, new, count)
    return new


def _continued_mask(new: Tensor, kept: Tensor, window: int) -> Tensor:
    """Queries at `new` [B, N], keys at `kept` [B, R] and `new`; those at -1 are none and see themselves only."""
    query, key = new[:, :, None], torch.cat((kept, new), dim=1)[:, None]
    allowed = (key >= 0) & (key <= query)
    if window:
        allowed &= key > query - window
    itself = torch.ones(allowed.shape[1:], dtype=torch.bool, device=new.device)
    return (allowed | itself.tril(kept.shape[1]).triu(kept.shape[1]))[:, None]


def _continued_blocks(document: Tensor, kept: Tensor, window: int) -> Tensor:
    """The same, block by block, for W - 1 kept keys."""
    alive = torch.where(document >= 0, 0, -1)
    return _block_mask(alive, window, F.pad(torch.where(kept >= 0, 0, -2), (1, 0), value=-2))


def _full_mask(document: Tensor) -> Tensor:
    num = document.shape[1]
    causal = torch.ones(num, num, dtype=torch.bool, device=document.device).tril()
    return (causal & (document[:, :, None] == document[:, None, :]))[:, None]


def _block_mask(document: Tensor, window: int, first: Tensor | None = None) -> Tensor:
    """Each block sees itself and the one before it; the first one sees `first` [B, W], or nothing."""
    batch, num = document.shape
    blocks = -(-num // window)
    padded = F.pad(document, (0, blocks * window - num), value=-1).view(batch, blocks, window)
    before = F.pad(padded[:, :-1], (0, 0, 1, 0), value=-2)
    if first is not None:
        before = torch.cat((first[:, None].to(padded.dtype), padded[:, :-1]), dim=1)
    keys = torch.cat((before, padded), dim=2)
    query = torch.arange(window, device=document.device)[:, None] + window
    key = torch.arange(2 * window, device=document.device)[None, :]
    near = (key <= query) & (key > query - window)
    allowed = near & (padded[..., :, None] == keys[..., None, :])
    return allowed.view(batch * blocks, 1, window, 2 * window)


def _exact(position: Tensor) -> Tensor:
    """Positions in float64: in float32 the angles of a long stream would be off by more than their differences."""
    return position.to("cpu" if position.device.type == "mps" else position.device, torch.float64)


def _rotary_tables(position: Tensor, head_width: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of floating-point positions, [..] -> [.., K] each, in their precision."""
    exponent = torch.arange(0, head_width, 2, device=position.device, dtype=position.dtype) / head_width
    angle = position[..., None] * theta**-exponent
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (arXiv 2104.09864) of [B, H, N, K]; channel k is paired with k + K / 2."""
    swapped = x.roll(x.shape[-1] // 2, dims=-1)
    return torch.addcmul(x * cos.to(x.dtype), swapped, sin.to(x.dtype))


class Attention(nn.Module):
    """Multi-head attention with grouped key-value heads, [B, N, D] -> [B, N, D].

    Args:
        width: D.
        heads: H; K = D / H.
        kv_heads: G, a divisor of H (arXiv 2305.13245).
        qk_norm: Normalise queries and keys before the rotation (arXiv 2302.05442).
        persistent: Learned key-value pairs that every position attends to (Titans, arXiv 2501.00663, section 3.3);
            they have no position and are the same for every input.
    """

    def __init__(self, width: int, heads: int, kv_heads: int, *, qk_norm: bool, persistent: int = 0) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width, self.qk_norm = heads, kv_heads, width // heads, qk_norm
        kv_width = kv_heads * self.head_width
        self.qkv = SplitLinear(width, (width, kv_width, kv_width))
        self.out = nn.Linear(width, width, bias=False)
        shape = (2, kv_heads, persistent, self.head_width)
        self.persistent = nn.Parameter(torch.empty(shape)) if persistent else None

    def new_cache(self, rows: int, kept: int, *, context: bool = False) -> Cache:
        """Room for the last `kept` keys and values of `rows` streams, [B, G, R, K] each; twice G with a context."""
        shape = (rows, self.kv_heads * (2 if context else 1), kept, self.head_width)
        return {"key": self.out.weight.new_zeros(shape), "value": self.out.weight.new_zeros(shape)}

    def forward(self, x: Tensor, span: Span, context: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Mixes positions as `span` allows; a vector of `context` [B, N, D] is seen like the position it stands at.

        With a cache, whose clock `span` was made from, positions see what it keeps as well.
        """
        batch, num, width = x.shape
        projected = self.qkv(x)
        if context is not None:
            projected = self._beside(projected, context)
        heads = projected.view(batch, num, -1, self.head_width).transpose(1, 2)
        with torch.autocast(x.device.type, enabled=False):
            mixed = self._mix(_attention_dtype(heads), span, cache)
        result: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, num, width))
        return result

    def _beside(self, projected: Tensor, context: Tensor) -> Tensor:
        """Puts the keys and values of `context` behind those of the positions, as further heads."""
        width = context.shape[-1]
        query, key, value = torch.split(projected, list(self.qkv.splits), dim=-1)
        context_key, context_value = F.linear(rms_norm(context), self.qkv.weight[width:]).chunk(2, dim=-1)
        return torch.cat((query, key, context_key, value, context_value), dim=-1)

    def _mix(self, heads: Tensor, span: Span, cache: Cache | None) -> Tensor:
        """Rotates and attends: [B, H + 2G, N, K] -> [B, H, N, K]; with a context there are 2G more heads."""
        num, kv_heads = heads.shape[2], (heads.shape[1] - self.heads) // 2
        query_key, value = torch.split(heads, [self.heads + kv_heads, kv_heads], dim=1)
        if self.qk_norm:
            query_key = rms_norm(query_key)
        query, key = torch.split(rotate(query_key, span.cos, span.sin), [self.heads, kv_heads], dim=1)
        if cache is not None:
            key, value = _read_on(cache, "key", key, span), _read_on(cache, "value", value, span)
        key, value = self._repeat(key), self._repeat(value)
        if span.block:
            query = _blocks(query, span.block)
            key, value = (_with_previous(x, num, span.block) for x in (key, value))
        key, value, allowed = self._extend(key, value, span)
        if span.block == 0:
            return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return _attend_in_blocks(query, key, value, allowed)[:, :, : heads.shape[2]]

    def _repeat(self, heads: Tensor) -> Tensor:
        """One key or value head per query head: [B, G, ..] -> [B, H, ..]."""
        return heads if self.kv_heads == self.heads else heads.repeat_interleave(self.heads // self.kv_heads, dim=1)

    def _extend(self, key: Tensor, value: Tensor, span: Span) -> tuple[Tensor, Tensor, Tensor]:
        """Lines up the keys of a context and the persistent ones behind the keys of positions.

        [.., H or 2H, M, K] -> [.., H, M or 2M (+ persistent), K], and the mask for it.
        """
        allowed = span.allowed
        if key.shape[-3] != self.heads:
            key, value = _line_up(key, self.heads), _line_up(value, self.heads)
            allowed = torch.cat((allowed[..., : allowed.shape[-1] - span.persistent], allowed), dim=-1)
        if self.persistent is not None:
            own = self.persistent.to(key.dtype)
            own_key = rms_norm(own[:1]) if self.qk_norm else own[:1]
            own_key, own_value = self._repeat(own_key), self._repeat(own[1:])
            shape = (*key.shape[:-2], span.persistent, key.shape[-1])
            key = torch.cat((key, own_key.expand(shape)), dim=-2)
            value = torch.cat((value, own_value.expand(shape)), dim=-2)
        return key, value, allowed


def _attention_dtype(x: Tensor) -> Tensor:
    """float32 on a CPU, where torch's bfloat16 attention is several times slower; unchanged elsewhere."""
    return x.float() if x.device.type == "cpu" and x.dtype == torch.bfloat16 else x


def _read_on(cache: Cache, name: str, new: Tensor, span: Span) -> Tensor:
    """The kept keys or values and the new ones, [B, G, R + N, K]; keeps the last R of them."""
    assert span.places is not None
    old = cache[name]
    joined = torch.cat((old.to(new.dtype), new), dim=2)
    places = span.places[:, None, :, None].expand(-1, old.shape[1], -1, old.shape[3])
    cache[name] = joined.gather(2, places).to(old.dtype)
    return joined


def _line_up(x: Tensor, heads: int) -> Tensor:
    """Groups of `heads` heads one behind the other: [.., 2H, M, K] -> [.., H, 2M, K]."""
    return x.view(*x.shape[:-3], -1, heads, *x.shape[-2:]).transpose(-4, -3).flatten(-3, -2)


def _attend_in_blocks(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    """Attends block by block: queries [B, blocks, H, W, K], keys [B, blocks, H, M, K] -> [B, H, blocks * W, K]."""
    batch, blocks = query.shape[:2]
    mixed = F.scaled_dot_product_attention(
        query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), attn_mask=allowed
    )
    return mixed.view(batch, blocks, *query.shape[2:]).transpose(1, 2).flatten(2, 3)


def _blocks(x: Tensor, window: int) -> Tensor:
    """[B, H, N, K] -> [B, blocks, H, W, K], padded with zeros on the right."""
    batch, heads, num, head_width = x.shape
    blocks = -(-num // window)
    padded = F.pad(x, (0, 0, 0, blocks * window - num))
    return padded.view(batch, heads, blocks, window, head_width).transpose(1, 2)


def _with_previous(x: Tensor, num: int, window: int) -> Tensor:
    """The `num` last positions in blocks with the block before in front of each, -> [B, blocks, H, 2 * W, K].

    What stands before those positions, up to W of them, is the block before the first; the rest of it is zero.
    """
    kept = x.shape[2] - num
    blocks = _blocks(x[:, :, kept:], window)
    before = F.pad(blocks[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
    if kept:
        first = F.pad(x[:, :, :kept], (0, 0, window - kept, 0))
        before = torch.cat((first[:, None], blocks[:, :-1]), dim=1)
    return torch.cat((before, blocks), dim=3)
