"""Causal attention within a window and within a document, on any device.

B rows, N positions, D width, H heads, G key-value heads, K head width, W window. The invariant: position i
attends to positions j with i - W < j <= i of its own segment and to nothing else. Windows shorter than the row
are computed block by block, so that the cost is O(N * W) with plain `scaled_dot_product_attention`.

A stream is read on from a cache: R kept keys, already rotated by their place in the stream, and their values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.model.active import Active, Kept
from neat.model.cache import Cache, keep_last, last_places, num_valid
from neat.model.layers import SplitLinear, rms_norm, same_document
from neat.model.levers import NO_LEVERS, ExclusiveHeads, HeadGate, KeyValueConvolution, Levers, QueryGain


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
        reach: `reach[k - 1]` is true where position i - k is in the segment of i, [B, N, 1] each; for a convolution
            on keys and values, empty without one.
        active: The positions that attend, None when all do. Where it is set, `allowed` is [B, 1, A, R + N] and the
            rotary tables are [B, 1, A, K].
        count: New positions of each row in a stream, [B]; None outside.
    """

    allowed: Tensor
    block: int
    cos: Tensor
    sin: Tensor
    persistent: int = 0
    reach: tuple[Tensor, ...] = ()
    active: Active | None = None
    count: Tensor | None = None

    def only(self, active: Active) -> Span:
        """The same for the active positions alone; of a span with one full mask."""
        assert self.block == 0
        allowed = active.pick(self.allowed[:, 0])[:, None]
        if self.count is None:
            cos, sin = (table[active.places][:, None] for table in (self.cos, self.sin))
        else:
            cos, sin = (active.pick(table[:, 0])[:, None] for table in (self.cos, self.sin))
        return replace(self, allowed=allowed, cos=cos, sin=sin, active=active)


def make_span(
    document: Tensor,
    window: int,
    head_width: int,
    theta: float,
    *,
    persistent: int = 0,
    rope_share: float = 1.0,
    taps: int = 0,
    blocks: bool = True,
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
        rope_share: Share of the channels that are rotated.
        taps: Positions that the layers' convolution on keys and values sees.
        blocks: Compute windows shorter than the row block by block.
        dtype: Precision of the rotary tables.
        clock: Where the streams stand that the rows continue, see `new_clock`.
    """
    num = document.shape[1]
    limited = window and num > window
    block = window if limited and blocks else 0
    if clock is None:
        at = torch.arange(num, device=document.device, dtype=dtype)
        cos, sin = _rotary_tables(at, head_width, theta, rope_share)
        allowed = _block_mask(document, window) if block else _full_mask(document, window if limited else 0)
    else:
        new = _places(clock, document)
        tables = _rotary_tables(_exact(new), head_width, theta, rope_share)
        cos, sin = (table[:, None].to(document.device, dtype) for table in tables)
        kept = clock["position"]
        allowed = _continued_blocks(document, kept, window) if block else _continued_mask(new, kept, window)
    if persistent:
        allowed = F.pad(allowed, (0, persistent), value=True)
    reach = tuple(same_document(document, k)[..., None] for k in range(1, taps))
    return Span(allowed, block, cos, sin, persistent, reach, count=None if clock is None else num_valid(document))


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


def advance(clock: Cache, document: Tensor) -> None:
    """Moves the clock past the positions of `document` [B, N], once all layers have read them."""
    count, new = num_valid(document), _places(clock, document)
    clock["length"], clock["position"] = clock["length"] + count, keep_last(clock["position"], new, count)


def _places(clock: Cache, document: Tensor) -> Tensor:
    """The places of new positions in their streams, -1 where `document` is; int64 [B, N]."""
    following = clock["length"][:, None] + torch.arange(document.shape[1], device=document.device)
    return torch.where(document >= 0, following, -1)


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


def _full_mask(document: Tensor, window: int = 0) -> Tensor:
    num = document.shape[1]
    near = torch.ones(num, num, dtype=torch.bool, device=document.device).tril()
    if window:
        near = near.triu(1 - window)
    return (near & (document[:, :, None] == document[:, None, :]))[:, None]


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


def _rotary_tables(position: Tensor, head_width: int, theta: float, share: float = 1.0) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of floating-point positions, [..] -> [.., K] each, in their precision."""
    turning = max(2, 2 * round(share * head_width / 2))
    exponent = torch.arange(0, turning, 2, device=position.device, dtype=position.dtype) / turning
    # Pairs of channels beyond the share turn with frequency 0, which leaves them exactly as they are.
    frequency = F.pad(theta**-exponent, (0, (head_width - turning) // 2))
    angle = position[..., None] * frequency
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
        levers: Optional changes of the layer.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        kv_heads: int,
        *,
        qk_norm: bool,
        persistent: int = 0,
        levers: Levers = NO_LEVERS,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width, self.qk_norm = heads, kv_heads, width // heads, qk_norm
        kv_width = kv_heads * self.head_width
        self.qkv = SplitLinear(width, (width, kv_width, kv_width))
        self.out = nn.Linear(width, width, bias=False)
        shape = (2, kv_heads, persistent, self.head_width)
        self.persistent = nn.Parameter(torch.empty(shape)) if persistent else None
        self.query_gain = QueryGain(heads, levers.qk_gain) if levers.qk_gain else None
        taps = levers.kv_conv
        self.convolution = KeyValueConvolution(2 * kv_heads, self.head_width, taps) if taps > 1 else None
        self.exclusive = ExclusiveHeads(heads) if levers.xsa else None
        self.head_gate = HeadGate(width, heads) if levers.attention_gate else None

    def new_cache(self, rows: int, kept: int, *, context: bool = False) -> Cache:
        """Room for the last `kept` keys and values of `rows` streams, [B, G, R, K] each; twice G with a context."""
        weight, groups = self.out.weight, self.kv_heads * (2 if context else 1)
        cache: Cache = {name: weight.new_zeros(rows, groups, kept, self.head_width) for name in ("key", "value")}
        return cache if self.convolution is None else cache | self.convolution.new_cache(rows)

    def forward(
        self,
        x: Tensor,
        span: Span,
        context: Tensor | None = None,
        kept: Kept | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Mixes positions as `span` allows.

        Args:
            x: All positions, or those that `span` names as active.
            span: Who attends to whom.
            context: Vectors [B, N, D] that are seen like the positions they stand at.
            kept: Where keys and values outlive this call, so that halted positions can be attended to later.
            cache: What came before in the streams that the rows continue, for the clock that `span` was made of.
        """
        batch, num, width = x.shape
        heads = self.qkv(x).view(batch, num, -1, self.head_width)
        if self.convolution is not None:
            heads = self.convolution(heads, span.reach, span.active, kept, cache, span.count)
        if context is not None:
            heads = self._beside(heads, context)
        with torch.autocast(x.device.type, enabled=False):
            mixed = self._mix(_attention_dtype(heads.transpose(1, 2)), span, kept, cache)
            if self.head_gate is not None:
                mixed = self.head_gate(x, mixed)
        result: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, num, width))
        return result

    def _beside(self, heads: Tensor, context: Tensor) -> Tensor:
        """Puts the keys and values of `context` behind those of the positions, as further heads."""
        query, key, value = torch.split(heads, [self.heads, self.kv_heads, self.kv_heads], dim=2)
        projected = F.linear(rms_norm(context), self.qkv.weight[context.shape[-1] :])
        context_key, context_value = projected.view(*key.shape[:2], -1, self.head_width).chunk(2, dim=2)
        return torch.cat((query, key, context_key, value, context_value), dim=2)

    def hold(self, span: Span, kept: Kept, cache: Cache) -> None:
        """Takes positions into the cache that have all halted, as their last application left them."""
        if self.convolution is not None:
            self.convolution.hold(kept, cache, span.count)
        for name in ("key", "value"):
            _read_on(cache, name, kept.tensors[name].transpose(1, 2), span)

    def _mix(self, heads: Tensor, span: Span, kept: Kept | None, cache: Cache | None) -> Tensor:
        """Rotates and attends: [B, H + 2G, N, K] -> [B, H, N, K]; with a context there are 2G more heads."""
        kv_heads = (heads.shape[1] - self.heads) // 2
        query_key, value = torch.split(heads, [self.heads + kv_heads, kv_heads], dim=1)
        if self.qk_norm:
            query_key = rms_norm(query_key)
        query, key = torch.split(rotate(query_key, span.cos, span.sin), [self.heads, kv_heads], dim=1)
        if self.query_gain is not None:
            query = self.query_gain(query)
        own = value[:, : self.kv_heads]
        if kept is not None:
            key, value = self._keep("key", key, span, kept), self._keep("value", value, span, kept)
        if cache is not None:
            key, value = _read_on(cache, "key", key, span), _read_on(cache, "value", value, span)
        mixed = self._attend(query, self._repeat(key), self._repeat(value), span)
        return mixed if self.exclusive is None else self.exclusive(mixed, self._repeat(own))

    def _keep(self, name: str, x: Tensor, span: Span, kept: Kept) -> Tensor:
        """Keeps the heads of the positions; of active positions returns them with those of the halted ones."""
        merged = kept.merge(name, x[:, : self.kv_heads].transpose(1, 2), span.active)
        return x if span.active is None else merged.transpose(1, 2)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, span: Span) -> Tensor:
        num = query.shape[2]
        if span.block:
            query = _blocks(query, span.block)
            key, value = (_with_previous(x, num, span.block) for x in (key, value))
        key, value, allowed = self._extend(key, value, span)
        if span.block == 0:
            return F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return _attend_in_blocks(query, key, value, allowed)[:, :, :num]

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
    assert span.count is not None
    old = cache[name]
    joined = torch.cat((old.to(new.dtype), new), dim=2)
    places = last_places(span.count, old.shape[2])[:, None, :, None]
    cache[name] = joined.gather(2, places.expand(-1, old.shape[1], -1, old.shape[3])).to(old.dtype)
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
