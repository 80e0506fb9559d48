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

from neat.model.cache import Cache, last_places, num_valid, take
from neat.model.layers import SplitLinear, rms_norm


@dataclass(frozen=True, slots=True)
class Span:
    """Who may attend to whom, made once per forward pass and shared by all layers of one clock.

    Attributes:
        allowed: Boolean mask, [B, 1, N, R + N], or [B * blocks, 1, W, 2 * W] when `block` is set.
        block: Positions per block, or 0 for one full mask.
        cos: Rotary cosines, [N, K], or [B, 1, N, K] in a stream.
        sin: Rotary sines with the sign of the rotation, like `cos`.
        places: Which of the R + N keys of a stream to keep, [B, R]; None outside a stream.
    """

    allowed: Tensor
    block: int
    cos: Tensor
    sin: Tensor
    places: Tensor | None = None


def make_span(
    document: Tensor,
    window: int,
    head_width: int,
    theta: float,
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
        dtype: Precision of the rotary tables.
        clock: What `new_clock` made, when the rows continue streams; moved on to after `document`.
    """
    num, device = document.shape[1], document.device
    if clock is not None:
        return _continued_span(document, window, head_width, theta, dtype, clock)
    cos, sin = _rotary_tables(torch.arange(num, device=device, dtype=dtype), head_width, theta)
    if window == 0 or num <= window:
        return Span(_full_mask(document), 0, cos, sin)
    return Span(_block_mask(document, window), window, cos, sin)


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


def _continued_span(
    document: Tensor, window: int, head_width: int, theta: float, dtype: torch.dtype, clock: Cache
) -> Span:
    num, device = document.shape[1], document.device
    before, count = clock["position"], num_valid(document)
    new = torch.where(document >= 0, clock["length"][:, None] + torch.arange(num, device=device), -1)
    position = torch.cat((before, new), dim=1)
    places = last_places(count, before.shape[1])
    clock["length"], clock["position"] = clock["length"] + count, take(position, places)
    cos, sin = (table[:, None].to(dtype) for table in _rotary_tables(_exact(new), head_width, theta))
    if window == 0 or num <= window:
        return Span(_continued_mask(new, position, window), 0, cos.to(device), sin.to(device), places)
    ring = F.pad(torch.where(before >= 0, 0, -2), (1, 0), value=-2)
    return Span(_block_mask(document, window, ring), window, cos.to(device), sin.to(device), places)


def _continued_mask(new: Tensor, position: Tensor, window: int) -> Tensor:
    """Queries at `new` [B, N] and keys at `position` [B, R + N]; those at -1 are none, but see themselves."""
    query, key = new[:, :, None], position[:, None, :]
    allowed = (key >= 0) & (key <= query)
    if window:
        allowed &= key > query - window
    itself = torch.ones(allowed.shape[1:], dtype=torch.bool, device=new.device)
    kept = position.shape[1] - new.shape[1]
    return (allowed | itself.tril(kept).triu(kept))[:, None]


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
    """

    def __init__(self, width: int, heads: int, kv_heads: int, *, qk_norm: bool) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width, self.qk_norm = heads, kv_heads, width // heads, qk_norm
        kv_width = kv_heads * self.head_width
        self.qkv = SplitLinear(width, (width, kv_width, kv_width))
        self.out = nn.Linear(width, width, bias=False)

    def new_cache(self, rows: int, kept: int) -> Cache:
        """Room for the last `kept` keys and values of `rows` streams, [B, G, R, K] each."""
        shape = (rows, self.kv_heads, kept, self.head_width)
        return {"key": self.out.weight.new_zeros(shape), "value": self.out.weight.new_zeros(shape)}

    def forward(self, x: Tensor, span: Span, cache: Cache | None = None) -> Tensor:
        """Mixes positions as `span` allows; with a cache, of `span`'s clock, they see what it keeps as well."""
        batch, num, width = x.shape
        heads = self.qkv(x).view(batch, num, self.heads + 2 * self.kv_heads, self.head_width).transpose(1, 2)
        with torch.autocast(x.device.type, enabled=False):
            mixed = self._mix(_attention_dtype(heads), span, cache)
        projected: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, num, width))
        return projected

    def _mix(self, heads: Tensor, span: Span, cache: Cache | None) -> Tensor:
        """Rotates and attends: [B, H + 2G, N, K] -> [B, H, N, K]."""
        query_key, value = torch.split(heads, [self.heads + self.kv_heads, self.kv_heads], dim=1)
        if self.qk_norm:
            query_key = rms_norm(query_key)
        query, key = torch.split(rotate(query_key, span.cos, span.sin), [self.heads, self.kv_heads], dim=1)
        if cache is not None:
            key, value = _read_on(cache, "key", key, span), _read_on(cache, "value", value, span)
        if self.kv_heads != self.heads:
            repeats = self.heads // self.kv_heads
            key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
        if span.block == 0:
            return F.scaled_dot_product_attention(query, key, value, attn_mask=span.allowed)
        return _attend_in_blocks(query, key, value, span)


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


def _attend_in_blocks(query: Tensor, key: Tensor, value: Tensor, span: Span) -> Tensor:
    heads, num, head_width = query.shape[1:]
    query = _blocks(query, span.block)
    key, value = (_with_previous(x, num, span.block) for x in (key, value))
    batch, blocks = query.shape[:2]
    mixed = F.scaled_dot_product_attention(
        query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), attn_mask=span.allowed
    )
    rows = mixed.view(batch, blocks, heads, span.block, head_width).transpose(1, 2)
    return rows.flatten(2, 3)[:, :, :num]


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
