"""The latent transformer: causal attention over patches, then a gated feed-forward layer, layer by layer.

B rows, P patch slots (or N bytes when the network has no patches), D width.
"""

from __future__ import annotations

from torch import Tensor, nn

from neat.config.schema import Config, Network
from neat.model.attention import Attention, Span, make_span
from neat.model.layers import FeedForward, rms_norm
from neat.model.outputs import Latent
from neat.model.svf import adapt_outputs


class LatentBlock(nn.Module):
    """One layer: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.attention = Attention(network.width, network.heads, network.kv_heads, qk_norm=network.qk_norm)
        self.feed_forward = FeedForward(network.width, network.ffn_width)

    def forward(self, x: Tensor, span: Span) -> Tensor:
        """Applies the layer to [B, P, D]."""
        x = x + self.attention(rms_norm(x), span)
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

    def forward(self, x: Tensor, document: Tensor) -> Latent:
        """Applies all layers; `document` [B, P] separates segments."""
        span = make_span(document, self.window, self.head_width, self.theta)
        for layer in self.layers:
            x = layer(x, span)
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
