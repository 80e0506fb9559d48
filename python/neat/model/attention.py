"""Causal attention within a window and within a document, on any device.

B rows, N positions, D width, H heads, G key-value heads, K head width, W window. The invariant: position i
attends to positions j with i - W < j <= i of its own segment and to nothing else. Windows shorter than the row
are computed block by block, so that the cost is O(N * W) with plain `scaled_dot_product_attention`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.model.active import Active, Kept
from neat.model.layers import SplitLinear, rms_norm, same_document
from neat.model.levers import NO_LEVERS, ExclusiveHeads, HeadGate, KeyValueConvolution, Levers, QueryGain


@dataclass(frozen=True, slots=True)
class Span:
    """Who may attend to whom, made once per forward pass and shared by all layers of one clock.

    Attributes:
        allowed: Boolean mask, [B, 1, N, N], or [B * blocks, 1, W, 2 * W] when `block` is set; `persistent` more
            columns, all allowed, at its end.
        block: Positions per block, or 0 for one full mask.
        cos: Rotary cosines, [N, K].
        sin: Rotary sines with the sign of the rotation, [N, K].
        persistent: Learned key-value pairs that everybody attends to.
        reach: `reach[k - 1]` is true where position i - k is in the segment of i, [B, N, 1] each; for a convolution
            on keys and values, empty without one.
        active: The positions that attend, None when all do. Where it is set, `allowed` is [B, 1, A, N] and the
            rotary tables are [B, 1, A, K].
    """

    allowed: Tensor
    block: int
    cos: Tensor
    sin: Tensor
    persistent: int = 0
    reach: tuple[Tensor, ...] = ()
    active: Active | None = None

    def only(self, active: Active) -> Span:
        """The same for the active positions alone; of a span with one full mask."""
        assert self.block == 0
        allowed = active.pick(self.allowed[:, 0])[:, None]
        cos, sin = (table[active.places][:, None] for table in (self.cos, self.sin))
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
    """
    num = document.shape[1]
    cos, sin = _rotary_tables(num, head_width, theta, document.device, rope_share)
    limited = window and num > window
    block = window if limited and blocks else 0
    allowed = _block_mask(document, window) if block else _full_mask(document, window if limited else 0)
    if persistent:
        allowed = F.pad(allowed, (0, persistent), value=True)
    reach = tuple(same_document(document, k)[..., None] for k in range(1, taps))
    return Span(allowed, block, cos, sin, persistent, reach)


def _full_mask(document: Tensor, window: int = 0) -> Tensor:
    num = document.shape[1]
    near = torch.ones(num, num, dtype=torch.bool, device=document.device).tril()
    if window:
        near = near.triu(1 - window)
    return (near & (document[:, :, None] == document[:, None, :]))[:, None]


def _block_mask(document: Tensor, window: int) -> Tensor:
    batch, num = document.shape
    blocks = -(-num // window)
    padded = F.pad(document, (0, blocks * window - num), value=-1).view(batch, blocks, window)
    before = F.pad(padded[:, :-1], (0, 0, 1, 0), value=-2)
    keys = torch.cat((before, padded), dim=2)
    query = torch.arange(window, device=document.device)[:, None] + window
    key = torch.arange(2 * window, device=document.device)[None, :]
    near = (key <= query) & (key > query - window)
    allowed = near & (padded[..., :, None] == keys[..., None, :])
    return allowed.view(batch * blocks, 1, window, 2 * window)


def _rotary_tables(
    num: int, head_width: int, theta: float, device: torch.device, share: float = 1.0
) -> tuple[Tensor, Tensor]:
    turning = max(2, 2 * round(share * head_width / 2))
    exponent = torch.arange(0, turning, 2, device=device, dtype=torch.float32) / turning
    # Pairs of channels beyond the share turn with frequency 0, which leaves them exactly as they are.
    frequency = F.pad(theta**-exponent, (0, (head_width - turning) // 2))
    angle = torch.arange(num, device=device, dtype=torch.float32)[:, None] * frequency
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

    def forward(self, x: Tensor, span: Span, context: Tensor | None = None, kept: Kept | None = None) -> Tensor:
        """Mixes positions as `span` allows.

        Args:
            x: All positions, or those that `span` names as active.
            span: Who attends to whom.
            context: Vectors [B, N, D] that are seen like the positions they stand at.
            kept: Where keys and values outlive this call, so that halted positions can be attended to later.
        """
        batch, num, width = x.shape
        heads = self.qkv(x).view(batch, num, -1, self.head_width)
        if self.convolution is not None:
            heads = self.convolution(heads, span.reach, span.active, kept)
        if context is not None:
            heads = self._beside(heads, context)
        with torch.autocast(x.device.type, enabled=False):
            mixed = self._mix(_attention_dtype(heads.transpose(1, 2)), span, kept)
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

    def _mix(self, heads: Tensor, span: Span, kept: Kept | None) -> Tensor:
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
            key, value = _with_previous(_blocks(key, span.block)), _with_previous(_blocks(value, span.block))
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


def _with_previous(x: Tensor) -> Tensor:
    """Puts the block before in front of each block: [B, blocks, H, W, K] -> [B, blocks, H, 2 * W, K]."""
    before = F.pad(x[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
    return torch.cat((before, x), dim=3)
