"""How positions of one row exchange information in the local encoder and decoder.

B rows, N positions, D width. Both mixers look back within a segment only; which one a stack uses is
`network.encoder_mixer` and `network.decoder_mixer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neat.config.schema import Network
from neat.model.attention import Attention, Span
from neat.model.cache import Cache, keep_last
from neat.model.layers import feed_forward, rms_norm, same_document


@dataclass(frozen=True, slots=True)
class LocalContext:
    """What the byte clock of a batch offers its mixers.

    Attributes:
        span: Mask and rotary tables of the byte attention, or None when no layer attends.
        reach: `reach[k - 1]` is 1 where position i - k is in the same segment as i, else 0: [B, N, 1] each. In a stream
            N counts the positions that a convolution keeps as well, which come first.
        count: New positions of each stream, [B]; None outside a stream.
    """

    span: Span | None
    reach: tuple[Tensor, ...]
    count: Tensor | None = None


def reach_back(document: Tensor, taps: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """The masks of `LocalContext.reach` for a convolution of `taps` positions."""
    return tuple(same_document(document, k)[..., None].to(dtype) for k in range(1, taps))


class CausalConvolution(nn.Module):
    """Depthwise convolution over the last `taps` positions of the segment, [B, N, D] -> [B, N, D]."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(taps, width))

    def new_cache(self, rows: int) -> Cache:
        """Room for the last `taps - 1` inputs of `rows` streams; before the beginning they are zero."""
        taps, width = self.kernel.shape
        return {"tail": self.kernel.new_zeros(rows, taps - 1, width)}

    def forward(self, x: Tensor, context: LocalContext, cache: Cache | None = None) -> Tensor:
        """Convolves within segments, or over what the cache kept and the new positions of a stream."""
        kernel = self.kernel.to(x.dtype)
        if cache is None:
            mixed: Tensor = _Convolve.apply(x, kernel, *context.reach)
            return mixed
        assert context.count is not None
        tail = cache["tail"]
        cache["tail"] = keep_last(tail, x, context.count)
        joined = torch.cat((tail.to(x.dtype), x), dim=1)
        continued: Tensor = _Convolve.apply(joined, kernel, *context.reach)
        return continued[:, tail.shape[1] :]


class _Convolve(torch.autograd.Function):
    """`y_i = sum_k kernel_k * reach_k,i * x_{i-k}` in place, with its gradient: less memory traffic than autograd's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, *reach: Tensor) -> Tensor:
        ctx.save_for_backward(x, kernel, *reach)
        mixed = x * kernel[0]
        for k in range(1, kernel.shape[0]):
            mixed[:, k:].addcmul_(x[:, :-k] * reach[k - 1][:, k:], kernel[k])
        return mixed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel, *reach = ctx.saved_tensors
        to_x = gradient * kernel[0]
        to_kernel = torch.empty_like(kernel)
        to_kernel[0] = (gradient * x).sum((0, 1))
        for k in range(1, kernel.shape[0]):
            reached = gradient[:, k:] * reach[k - 1][:, k:]
            to_x[:, :-k].addcmul_(reached, kernel[k])
            to_kernel[k] = (reached * x[:, :-k]).sum((0, 1))
        return (to_x, to_kernel, *(None for _ in reach))


class LocalBlock(nn.Module):
    """One layer of the local encoder or decoder: a mixer, then a feed-forward layer where `ffn_width` > 0."""

    def __init__(self, network: Network, mixer: str, ffn_width: int) -> None:
        super().__init__()
        width, heads = network.local_width, network.local_heads
        attends = mixer == "attention"
        self.attention = Attention(width, heads, heads, qk_norm=network.qk_norm) if attends else None
        self.convolution = None if attends else CausalConvolution(width, network.conv_taps)
        self.feed_forward = feed_forward(network, width, ffn_width) if ffn_width else None

    def new_cache(self, rows: int, kept: int) -> Cache:
        """The mixer's cache; attention keeps `kept` positions."""
        if self.attention is not None:
            return self.attention.new_cache(rows, kept)
        assert self.convolution is not None
        return self.convolution.new_cache(rows)

    def forward(self, x: Tensor, context: LocalContext, cache: Cache | None = None) -> Tensor:
        """Applies the layer to [B, N, D]."""
        if self.attention is not None:
            assert context.span is not None
            x = x + self.attention(rms_norm(x), context.span, cache=cache)
        elif self.convolution is not None:
            x = x + self.convolution(rms_norm(x), context, cache)
        if self.feed_forward is not None:
            x = x + self.feed_forward(rms_norm(x))
        return x
