"""The latent transformer: causal attention over patches, then a gated feed-forward layer, layer by layer.

B rows, P patch slots (or N bytes when the network has no patches), D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neat.config.schema import Config
from neat.model.attention import Attention, Span, make_span
from neat.model.layers import FeedForward, rms_norm
from neat.model.memory import Memory, Recall, make_recall
from neat.model.outputs import Latent
from neat.model.svf import adapt_outputs


class LatentBlock(nn.Module):
    """One layer: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`.

    A layer with a memory has it where `memory.variant` says: "mag" adds it beside attention, "mal" before attention,
    "lmm" in its place (Titans, arXiv 2501.00663, sections 4.2-4.3; the paper multiplies the branches of "mag"). "mac"
    shows attention what the memory reads for each patch as a further key and value at the place of that patch, under
    the same mask; the memory is written from the layer's input, so nothing waits for attention (section 4.1 cuts the
    text into segments and writes what attention returns).
    """

    def __init__(self, config: Config, index: int) -> None:
        super().__init__()
        network = config.network
        remembers = index in config.memory.layer_indices(network.layers)
        self.variant = config.memory.variant if remembers else "off"
        self.memory = Memory(config) if remembers else None
        self.attention = None if self.variant == "lmm" else _attention(config)
        self.feed_forward = FeedForward(network.width, network.ffn_width)

    def forward(self, x: Tensor, span: Span, recall: Recall | None = None) -> Tensor:
        """Applies the layer to [B, P, D].

        Args:
            x: What the layers before have made.
            span: What attention sees.
            recall: What memories need; None leaves the memory alone, neither read nor written.
        """
        remembered = None
        if self.memory is not None and recall is not None:
            remembered = self.memory(rms_norm(x), recall)
        if remembered is not None and self.variant in ("mal", "lmm"):
            x = x + remembered
        if self.attention is not None:
            attended = self.attention(rms_norm(x), span, remembered if self.variant == "mac" else None)
            x = x + attended if remembered is None or self.variant != "mag" else x + attended + remembered
        changed: Tensor = x + self.feed_forward(rms_norm(x))
        return changed


def _attention(config: Config) -> Attention:
    network = config.network
    return Attention(
        network.width,
        network.heads,
        network.kv_heads,
        qk_norm=network.qk_norm,
        persistent=config.memory.persistent,
    )


class LatentTransformer(nn.Module):
    """The stack that holds most of the parameters, [B, P, D] -> [B, P, D]."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        network = config.network
        self.window, self.theta = network.window, network.rope_theta
        self.head_width = network.width // network.heads
        self.memory, self.remembers = config.memory, config.memory.on
        self.layers = nn.ModuleList(LatentBlock(config, index) for index in range(network.layers))
        if config.expert.count:
            adapt_outputs(self.layers)

    def forward(self, x: Tensor, document: Tensor) -> Latent:
        """Applies all layers; `document` [B, P] separates segments."""
        span = make_span(document, self.window, self.head_width, self.theta, self.memory.persistent)
        recall = None
        if self.remembers:
            recall = make_recall(document, self.memory, torch.promote_types(x.dtype, torch.float32))
        for layer in self.layers:
            x = layer(x, span, recall)
        return Latent(x)

    def switchable(self) -> frozenset[str]:
        """Components that can be turned off; a memory in the place of attention cannot."""
        return frozenset({"memory"} if self.memory.variant in ("mag", "mal", "mac") else ())

    def activate(self, component: str, *, on: bool) -> None:
        """Turns a component of `switchable` off or on.

        Raises:
            ValueError: There is no such component in this network.
        """
        if component not in self.switchable():
            raise ValueError(f"{component} cannot be turned off here")
        self.remembers = on
