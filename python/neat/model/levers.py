"""Small changes of an attention layer, each with a switch of its own and each off in a fresh model, or nearly so.

B rows, N positions, D width, H heads, G key-value heads, K head width. Off means that no parameter exists and nothing
is computed. They look back within a segment only, if at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.config.schema import Network
from neat.model.active import Active, Kept
from neat.model.cache import Cache, keep_last
from neat.model.layers import shift

PROJECTED = "before convolution"
"""What is kept of halted positions for the convolution on keys and values."""
GATE_INPUTS = 12
"""Leading channels that decide how much of a head's output passes."""


@dataclass(frozen=True, slots=True)
class Levers:
    """Which changes an attention layer has; see the settings of the same names in `Network`."""

    qk_gain: float = 0.0
    kv_conv: int = 0
    xsa: bool = False
    attention_gate: bool = False

    @classmethod
    def of(cls, network: Network) -> Levers:
        """The choices for the latent layers of `network`."""
        return cls(network.qk_gain, network.kv_conv, network.xsa, network.attention_gate)


NO_LEVERS = Levers()


class QueryGain(nn.Module):
    """A learned factor per head on the normalised queries, `start * (1 + gain_h)`, the gain zero at first."""

    def __init__(self, heads: int, start: float) -> None:
        super().__init__()
        self.start = start
        self.gain = nn.Parameter(torch.empty(heads))

    def forward(self, query: Tensor) -> Tensor:
        """Scales [B, H, N, K]."""
        factor = self.start * (1 + self.gain)
        return query * factor.to(query.dtype)[:, None, None]


class HeadGate(nn.Module):
    """`y_h <- 2 sigmoid(w_h . x[:12]) y_h`; w starts at zero, so every head passes unchanged at first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(min(GATE_INPUTS, width), heads))

    def forward(self, x: Tensor, mixed: Tensor) -> Tensor:
        """Scales the heads [B, H, N, K] by what the input [B, N, D] of the layer says."""
        share = 2 * torch.sigmoid(x[..., : self.weight.shape[0]].to(self.weight.dtype) @ self.weight)
        return mixed * share.transpose(1, 2)[..., None].to(mixed.dtype)


class ExclusiveHeads(nn.Module):
    """`y_h <- y_h - g_h (y_h . u) u` with u the position's own value at length 1; g starts at zero.

    arXiv 2603.09078 with a gain per head in place of the full removal.
    """

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.empty(heads))

    def forward(self, mixed: Tensor, value: Tensor) -> Tensor:
        """Changes the heads [B, H, N, K]; `value` has the same shape."""
        own = F.normalize(value, dim=-1)
        along = (mixed * own).sum(-1, keepdim=True) * self.share.to(mixed.dtype)[:, None, None]
        return mixed - along * own


class KeyValueConvolution(nn.Module):
    """Adds to keys and values those of the positions before: `z_i += sum_k c_k z_{i-k}`, k < taps, c zero at first.

    Args:
        heads: 2 G, the key heads and the value heads.
        head_width: K.
        taps: Positions seen, the current one included; its own factor is left to the projection.
    """

    def __init__(self, heads: int, head_width: int, taps: int) -> None:
        super().__init__()
        self.heads = heads
        self.kernel = nn.Parameter(torch.empty(taps - 1, heads, head_width))

    def new_cache(self, rows: int) -> Cache:
        """Room for the last `taps - 1` projections of `rows` streams; before the beginning they are zero."""
        return {"tail": self.kernel.new_zeros(rows, *self.kernel.shape)}

    def hold(self, kept: Kept, cache: Cache, count: Tensor | None) -> Tensor:
        """Puts what the cache kept before the projections of all positions; keeps the last of them."""
        assert count is not None
        tail, source = cache["tail"], kept.tensors[PROJECTED]
        cache["tail"] = keep_last(tail, source, count)
        return torch.cat((tail.to(source.dtype), source), dim=1)

    def forward(
        self,
        heads: Tensor,
        reach: tuple[Tensor, ...],
        active: Active | None,
        kept: Kept | None,
        cache: Cache | None = None,
        count: Tensor | None = None,
    ) -> Tensor:
        """Convolves the last 2 G of the heads [B, N, H + 2G, K] before they are normalised and rotated.

        Args:
            heads: Projections of all positions, or of the active ones.
            reach: `reach[k - 1]` is 1 where position i - k is in the segment of i, else 0: [B, P, 1] each.
            active: The positions that `heads` holds, None for all.
            kept: The projections of halted positions.
            cache: Of the streams that the rows continue.
            count: New positions of each stream, [B].
        """
        query, own = torch.split(heads, [heads.shape[2] - self.heads, self.heads], dim=2)
        kept = Kept() if kept is None else kept
        source = kept.merge(PROJECTED, own, active)
        first = 0
        if cache is not None:
            source, first = self.hold(kept, cache, count), self.kernel.shape[0]
            # What stands before the beginning is zero, so every position reaches all before it.
            reach = (source.new_ones(1, 1, 1),) * first
        kernel = self.kernel.to(heads.dtype)
        mixed = source
        for k, within in enumerate(reach, start=1):
            mixed = mixed + kernel[k - 1] * _back(source, k) * within.to(heads.dtype)[..., None]
        mixed = mixed[:, first:]
        return torch.cat((query, mixed if active is None else active.pick(mixed)), dim=2)


def _back(x: Tensor, positions: int) -> Tensor:
    return shift(x.flatten(2), positions).view(x.shape)
