"""Causal attention within a window and within a document, on any device.

B rows, N positions, D width, H heads, G key-value heads, K head width, W window. The invariant: position i
attends to positions j with i - W < j <= i of its own segment and to nothing else. Windows shorter than the row
are computed block by block, so that the cost is O(N * W) with plain `scaled_dot_product_attention`.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        allowed: Boolean mask, [B, 1, N, N], or [B * blocks, 1, W, 2 * W] when `block` is set.
        block: Positions per block, or 0 for one full mask.
        cos: Rotary cosines, [N, K].
        sin: Rotary sines with the sign of the rotation, [N, K].
        reach: `reach[k - 1]` is true where position i - k is in the segment of i, [B, N, 1] each; for a convolution
            on keys and values, empty without one.
        active: The positions that attend, None when all do. Where it is set, `allowed` is [B, 1, A, N] and the
            rotary tables are [B, 1, A, K].
    """

    allowed: Tensor
    block: int
    cos: Tensor
    sin: Tensor
    reach: tuple[Tensor, ...] = ()
    active: Active | None = None

    def only(self, active: Active) -> Span:
        """The same for the active positions alone; of a span with one full mask."""
        assert self.block == 0
        allowed = active.pick(self.allowed[:, 0])[:, None]
        cos, sin = (table[active.places][:, None] for table in (self.cos, self.sin))
        return Span(allowed, 0, cos, sin, self.reach, active)


def make_span(
    document: Tensor,
    window: int,
    head_width: int,
    theta: float,
    *,
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
        rope_share: Share of the channels that are rotated.
        taps: Positions that the layers' convolution on keys and values sees.
        blocks: Compute windows shorter than the row block by block.
    """
    num = document.shape[1]
    cos, sin = _rotary_tables(num, head_width, theta, document.device, rope_share)
    reach = tuple(same_document(document, k)[..., None] for k in range(1, taps))
    if window == 0 or num <= window:
        return Span(_full_mask(document), 0, cos, sin, reach)
    if not blocks:
        return Span(_full_mask(document, window), 0, cos, sin, reach)
    return Span(_block_mask(document, window), window, cos, sin, reach)


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
        levers: Optional changes of the layer.
    """

    def __init__(self, width: int, heads: int, kv_heads: int, *, qk_norm: bool, levers: Levers = NO_LEVERS) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width, self.qk_norm = heads, kv_heads, width // heads, qk_norm
        kv_width = kv_heads * self.head_width
        self.qkv = SplitLinear(width, (width, kv_width, kv_width))
        self.out = nn.Linear(width, width, bias=False)
        self.query_gain = QueryGain(heads, levers.qk_gain) if levers.qk_gain else None
        taps = levers.kv_conv
        self.convolution = KeyValueConvolution(2 * kv_heads, self.head_width, taps) if taps > 1 else None
        self.exclusive = ExclusiveHeads(heads) if levers.xsa else None
        self.head_gate = HeadGate(width, heads) if levers.attention_gate else None

    def forward(self, x: Tensor, span: Span, kept: Kept | None = None) -> Tensor:
        """Mixes positions as `span` allows.

        Args:
            x: All positions, or those that `span` names as active.
            span: Who attends to whom.
            kept: Where keys and values outlive this call, so that halted positions can be attended to later.
        """
        batch, num, width = x.shape
        heads = self.qkv(x).view(batch, num, self.heads + 2 * self.kv_heads, self.head_width)
        with torch.autocast(x.device.type, enabled=False):
            heads = _attention_dtype(heads)
            if self.convolution is not None:
                heads = self.convolution(heads, span.reach, span.active, kept)
            mixed = self._mix(heads.transpose(1, 2), span, kept)
            if self.head_gate is not None:
                mixed = self.head_gate(x, mixed)
        projected: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, num, width))
        return projected

    def _mix(self, heads: Tensor, span: Span, kept: Kept | None) -> Tensor:
        """Rotates and attends: [B, H + 2G, N, K] -> [B, H, N, K]."""
        query_key, value = torch.split(heads, [self.heads + self.kv_heads, self.kv_heads], dim=1)
        if self.qk_norm:
            query_key = rms_norm(query_key)
        query, key = torch.split(rotate(query_key, span.cos, span.sin), [self.heads, self.kv_heads], dim=1)
        if self.query_gain is not None:
            query = self.query_gain(query)
        own = value
        if kept is not None:
            key, value = (
                kept.merge(name, x.transpose(1, 2), span.active).transpose(1, 2)
                for name, x in (("key", key), ("value", value))
            )
        mixed = self._attend(query, key, value, span)
        return mixed if self.exclusive is None else self.exclusive(mixed, self._for_each_head(own))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, span: Span) -> Tensor:
        key, value = self._for_each_head(key), self._for_each_head(value)
        if span.block == 0:
            return F.scaled_dot_product_attention(query, key, value, attn_mask=span.allowed)
        return _attend_in_blocks(query, key, value, span)

    def _for_each_head(self, x: Tensor) -> Tensor:
        """Repeats key-value heads, [B, G, N, K] -> [B, H, N, K]."""
        return x if self.kv_heads == self.heads else x.repeat_interleave(self.heads // self.kv_heads, dim=1)


def _attention_dtype(x: Tensor) -> Tensor:
    """float32 on a CPU, where torch's bfloat16 attention is several times slower; unchanged elsewhere."""
    return x.float() if x.device.type == "cpu" and x.dtype == torch.bfloat16 else x


def _attend_in_blocks(query: Tensor, key: Tensor, value: Tensor, span: Span) -> Tensor:
    heads, num, head_width = query.shape[1:]
    query = _blocks(query, span.block)
    key, value = _with_previous(_blocks(key, span.block)), _with_previous(_blocks(value, span.block))
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


def _with_previous(x: Tensor) -> Tensor:
    """Puts the block before in front of each block: [B, blocks, H, W, K] -> [B, blocks, H, 2 * W, K]."""
    before = F.pad(x[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
    return torch.cat((before, x), dim=3)
