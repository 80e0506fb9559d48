"""The latent transformer: causal attention over patches, then a gated feed-forward layer, layer by layer.

B rows, P patch slots (or N bytes when the network has no patches), D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from neat.config.schema import Config, Network
from neat.model.attention import Attention, Span, make_span, new_clock, table_dtype
from neat.model.cache import Cache
from neat.model.layers import FeedForward, rms_norm
from neat.model.outputs import Latent
from neat.model.svf import adapt_outputs


class LatentBlock(nn.Module):
    """One layer: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.attention = Attention(network.width, network.heads, network.kv_heads, qk_norm=network.qk_norm)
        self.feed_forward = FeedForward(network.width, network.ffn_width)

    def new_cache(self, rows: int, kept: int) -> Cache:
        """What the layer keeps of `rows` streams; attention keeps `kept` positions."""
        return {"attention": self.attention.new_cache(rows, kept)}

    def forward(self, x: Tensor, span: Span, cache: Cache | None = None) -> Tensor:
        """Applies the layer to [B, P, D]."""
        x = x + self.attention(rms_norm(x), span, None if cache is None else cache["attention"])
        changed: Tensor = x + self.feed_forward(rms_norm(x))
        return changed


class LatentTransformer(nn.Module):
    """The stack that holds most of the parameters, [B, P, D] -> [B, P, D]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        network = config.network
        self.window, self.theta = network.window, network.rope_theta
        self.head_width = network.width // network.heads
        self.layers = nn.ModuleList(LatentBlock(network) for _ in range(network.layers))
        if config.expert.count:
            adapt_outputs(self.layers)

    def new_cache(self, rows: int, reach: int) -> Cache:
        """What all layers keep of `rows` streams; attention over the whole row keeps `reach` positions."""
        kept = self.window - 1 if self.window else reach
        cache: Cache = {"clock": new_clock(rows, kept, next(self.parameters()).device)}
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, LatentBlock)
            cache[str(index)] = layer.new_cache(rows, kept)
        return cache

    def forward(self, x: Tensor, document: Tensor, cache: Cache | None = None) -> Latent:
        """Applies all layers; `document` [B, P] separates segments."""
        clock = None if cache is None else cache["clock"]
        span = make_span(document, self.window, self.head_width, self.theta, dtype=table_dtype(x), clock=clock)
        for index, layer in enumerate(self.layers):
            x = layer(x, span, None if cache is None else cache[str(index)])
        return Latent(x)

    def switchable(self) -> frozenset[str]:
        """Components that can be turned off."""
        return frozenset()

    def activate(self, component: str, *, on: bool) -> None:
        """Turns a component of `switchable` off or on.

        Raises:
            ValueError: There is no such component in this network.
        """
        if component not in self.switchable():
            raise ValueError(f"{component} cannot be turned off here")
