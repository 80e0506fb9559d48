"""The network: bytes -> patches -> latent transformer -> bytes. The wiring only; each part has its own file.

B rows, N byte positions, P patch slots, D latent width, E local width. Follows BLT (arXiv 2412.09871): the local
encoder reads bytes, the latent transformer reads one vector per patch, the local decoder predicts the next byte from
its own state and the last closed patch. Each residual is added once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from neat.config.schema import Config, Network
from neat.model.attention import make_span
from neat.model.batch import Batch
from neat.model.bytes import ByteEmbedding
from neat.model.experts import Experts
from neat.model.init import initialise
from neat.model.latent import LatentTransformer
from neat.model.layers import rms_norm
from neat.model.mixers import LocalBlock, LocalContext, reach_back
from neat.model.outputs import Latent, Outputs
from neat.model.patches import AddRead, CrossAttentionPool, CrossAttentionRead, LastMeanPool
from neat.model.vocabulary import NUM_BYTES

PROBE = "probe"
"""Attribute of modules that can tell something of themselves: None, or what takes (metric, value)."""


class NeatModel(nn.Module):
    """Logits of the next byte at every position of a batch.

    Args:
        config: Sizes and switches of all parts, and the longest patch that the packer emits.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        network = config.network
        width = network.local_width if network.patches else network.width
        self.embedding = ByteEmbedding(network, width)
        self.patching = Patching(network, config.patcher.max_length) if network.patches else None
        self.latent = LatentTransformer(config)
        self.recursion = config.recursion
        self.head = nn.Linear(width, NUM_BYTES, bias=False)
        self.experts = _experts(self.latent, config) if config.expert.count else None
        initialise(self)

    def forward(self, batch: Batch) -> Tensor:
        """Logits in float32 (float64 for a float64 model), [B, N, 256]."""
        return self.trunk(self.embedding(batch), batch, last_only=True).logits

    def outputs(self, batch: Batch) -> Outputs:
        """Everything that a loss is made of."""
        return self.trunk(self.embedding(batch), batch)

    def trunk(self, x: Tensor, batch: Batch, *, last_only: bool = False) -> Outputs:
        """All of the network but its embeddings, from embedded positions [B, N, E].

        Args:
            x: Embedded positions.
            batch: What they came from.
            last_only: Leave out the predictions after earlier applications of the latent transformer.
        """
        if self.patching is None:
            latent: Latent = self.latent(x, batch.document)
            read = self._predict
        else:
            context = self.patching.context(batch, x)
            encoded = self.patching.encode(x, context)
            latent = self.latent(self.patching.pool(encoded, batch), batch.patch_document)
            read = partial(self._read, self.patching, encoded, batch, context)
        earlier = () if last_only else self._earlier(latent, read)
        return Outputs(read(latent.vectors), earlier, halting=latent.halting, depth=latent.depth)

    def _earlier(self, latent: Latent, read: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        """Predictions from the states that a loss looks at; without gradient where only the halting head does."""
        found = []
        for application in self.recursion.decoded if latent.earlier else ():
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.recursion.weights[application] > 0):
                found.append(read(latent.earlier[application]))
        return tuple(found)

    def _read(
        self, patching: Patching, encoded: Tensor, batch: Batch, context: LocalContext, vectors: Tensor
    ) -> Tensor:
        return self._predict(patching.decode(encoded, vectors, batch, context))

    def switchable(self) -> frozenset[str]:
        """Components of this network that `activate` can turn off and on."""
        return self.latent.switchable()

    def activate(self, component: str, *, on: bool) -> None:
        """Lets a component take part in the coming forward passes, or not; what it adds is then left out exactly."""
        self.latent.activate(component, on=on)

    @contextmanager
    def observed(self, sink: Callable[[str, Tensor], None]) -> Iterator[None]:
        """Inside, modules that can tell something of themselves hand it to `sink` as (metric, value)."""
        probed = [module for module in self.modules() if hasattr(module, PROBE)]
        for module in probed:
            setattr(module, PROBE, sink)
        try:
            yield
        finally:
            for module in probed:
                setattr(module, PROBE, None)

    def _predict(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(rms_norm(x))
        return logits if logits.dtype.itemsize > 2 else logits.float()


class Patching(nn.Module):
    """Everything that turns bytes into patches and back: local encoder, pooling, reading, local decoder."""

    def __init__(self, network: Network, max_patch_length: int) -> None:
        super().__init__()
        self.network = network
        width = network.local_width
        self.encoder = _stack(network, network.encoder_mixer, network.encoder_layers, network.encoder_ffn_width)
        self.decoder = _stack(network, network.decoder_mixer, network.decoder_layers, network.decoder_ffn_width)
        self.pool: nn.Module
        if network.pool == "cross_attention":
            self.pool = CrossAttentionPool(width, network.width, network.local_heads, max_patch_length)
        else:
            self.pool = LastMeanPool(width, network.width)
        # "add" reads once, before the first decoder layer; cross-attention reads before each one.
        reads = 1 if network.read == "add" else network.decoder_layers
        self.reads = nn.ModuleList(_read(network) for _ in range(reads))

    def encode(self, x: Tensor, context: LocalContext) -> Tensor:
        """The local encoder, [B, N, E]."""
        for layer in self.encoder:
            x = layer(x, context)
        return x

    def decode(self, x: Tensor, vectors: Tensor, batch: Batch, context: LocalContext) -> Tensor:
        """The local decoder over encoded bytes [B, N, E] and the latent vectors [B, P, D] of their patches."""
        for index, layer in enumerate(self.decoder):
            if index < len(self.reads):
                x = x + self.reads[index](x, vectors, batch)
            x = layer(x, context)
        return x

    def context(self, batch: Batch, x: Tensor) -> LocalContext:
        """What the mixers of both stacks need to know of a batch."""
        network = self.network
        mixers = (network.encoder_mixer, network.decoder_mixer)
        span = None
        if "attention" in mixers:
            head_width = network.local_width // network.local_heads
            span = make_span(batch.document, network.local_window, head_width, network.rope_theta)
        taps = network.conv_taps if "conv" in mixers else 0
        return LocalContext(span, reach_back(batch.document, taps, x.dtype))


def _stack(network: Network, mixer: str, layers: int, ffn_width: int) -> nn.ModuleList:
    return nn.ModuleList(LocalBlock(network, mixer, ffn_width) for _ in range(layers))


def _read(network: Network) -> nn.Module:
    if network.read == "add":
        return AddRead(network.local_width, network.width)
    return CrossAttentionRead(network.local_width, network.width, network.local_heads)


def _experts(latent: LatentTransformer, config: Config) -> Experts:
    return Experts(latent, config.expert.count, config.network.width, config.expert.dispatcher_width)
