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
from neat.model.attention import advance, make_span, new_clock, table_dtype
from neat.model.batch import Batch
from neat.model.bytes import ByteEmbedding
from neat.model.cache import Cache, num_valid, part, take
from neat.model.experts.vectors import Experts
from neat.model.images.parts import ImageParts
from neat.model.init import initialise
from neat.model.latent import LatentTransformer
from neat.model.layers import rms_norm
from neat.model.mixers import LocalBlock, LocalContext, reach_back
from neat.model.outputs import Latent, Outputs
from neat.model.patches import (
    AddRead,
    CrossAttentionPool,
    CrossAttentionRead,
    LastMeanPool,
    continue_patch,
    new_open_patch,
)
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
        # One class more says that an image begins.
        self.head = nn.Linear(width, NUM_BYTES + config.vision.on, bias=False)
        self.vision = ImageParts(config, width) if config.vision.on else None
        self.reach = config.train.window
        self.experts = _experts(self.latent, config) if config.expert.count else None
        initialise(self)

    def new_cache(self, rows: int, reach: int | None = None) -> Cache:
        """The state of `rows` streams before their first byte; its size does not depend on what they will read.

        Args:
            rows: B.
            reach: Latent positions that attention without a window looks back over; None: `train.window` of them,
                which is all that a row of the training window has.
        """
        cache: Cache = {"embedding": self.embedding.new_cache(rows)}
        cache["latent"] = self.latent.new_cache(rows, self.reach if reach is None else reach)
        if self.patching is not None:
            cache["patching"] = self.patching.new_cache(rows)
        return cache

    def forward(self, batch: Batch) -> Tensor:
        """Logits in float32 (float64 for a float64 model), [B, N, 256], or 257 with images."""
        return self.trunk(self.embed(batch), batch, last_only=True).logits

    def outputs(self, batch: Batch) -> Outputs:
        """Everything that a loss is made of."""
        return self.trunk(self.embed(batch), batch)

    def embed(self, batch: Batch, cache: Cache | None = None) -> Tensor:
        """Bytes and image codes as vectors, [B, N, E]."""
        images = None if self.vision is None else self.vision.embed(batch)
        x: Tensor = self.embedding(batch, images, part(cache, "embedding"))
        return x

    def read_on(self, batch: Batch, cache: Cache) -> Outputs:
        """What `forward` would return at the new positions of streams; `cache` then stands behind them.

        Args:
            batch: The new positions, see `Batch`.
            cache: Of `new_cache`, with a row for each of the batch.
        """
        return self.trunk(self.embed(batch, cache), batch, last_only=True, cache=cache)

    def next_code(self, cache: Cache) -> Tensor:
        """Logits of the image code that would follow in each stream, [B, K]; of a network with images."""
        assert self.vision is not None
        logits: Tensor = self.vision.head(cache["patching"]["latest"][:, 0])
        return logits

    def trunk(self, x: Tensor, batch: Batch, *, last_only: bool = False, cache: Cache | None = None) -> Outputs:
        """All of the network but its embeddings, from embedded positions [B, N, E].

        Args:
            x: Embedded positions.
            batch: What they came from.
            last_only: Leave out what `forward` does not return: earlier predictions, and those of image codes.
            cache: Of the streams that the batch continues.
        """
        if self.patching is None:
            latent: Latent = self.latent(x, batch.document, part(cache, "latent"))
            read = self._predict
        else:
            local = part(cache, "patching")
            context = self.patching.context(batch, x, local)
            encoded = self.patching.encode(x, context, local)
            latent = self._patches(self.patching, encoded, batch, cache)
            read = partial(self._read, self.patching, encoded, batch, context, local)
        earlier = () if last_only else self._earlier(latent, read)
        found = Outputs(read(latent.vectors), earlier, halting=latent.halting, depth=latent.depth)
        if self.vision is None or batch.codes is None or last_only:
            return found
        return found._replace(image_logits=self.vision.head(latent.vectors), codebook=self.vision.codebook())

    def _earlier(self, latent: Latent, read: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        """Predictions from the states that a loss looks at; without gradient where only the halting head does."""
        found = []
        for application in self.recursion.decoded if latent.earlier else ():
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.recursion.weights[application] > 0):
                found.append(read(latent.earlier[application]))
        return tuple(found)

    def _patches(self, patching: Patching, encoded: Tensor, batch: Batch, cache: Cache | None) -> Latent:
        """The latent vectors that bytes read: of all patches, in a stream of the latest one and those closed now."""
        if cache is None:
            whole: Latent = self.latent(patching.pool(encoded, batch), batch.patch_document)
            return whole
        local = cache["patching"]
        latest = local["latest"]
        members, widened = continue_patch(encoded, batch, local["open"])
        if batch.patch_document.shape[1] == 1:
            return Latent(latest)
        # The last slot belongs to padding and to patches that stay open.
        closed = patching.pool(members, widened)[:, :-1]
        latent: Latent = self.latent(closed, batch.patch_document[:, :-1], cache["latent"])
        vectors = torch.cat((latest.to(latent.vectors.dtype), latent.vectors), dim=1)
        local["latest"] = take(vectors, num_valid(batch.patch_document)[:, None]).to(latest.dtype)
        return latent._replace(vectors=vectors)

    def _read(
        self,
        patching: Patching,
        encoded: Tensor,
        batch: Batch,
        context: LocalContext,
        local: Cache | None,
        vectors: Tensor,
    ) -> Tensor:
        return self._predict(patching.decode(encoded, vectors, batch, context, local))

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
        self.network, self.max_patch_length = network, max_patch_length
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

    def new_cache(self, rows: int) -> Cache:
        """What both stacks, the open patch and the latest closed one keep of `rows` streams."""
        kept, weight = self.network.local_window - 1, next(self.parameters())
        cache: Cache = {
            "open": new_open_patch(rows, self.max_patch_length, weight.new_empty(0, self.network.local_width)),
            "latest": weight.new_zeros(rows, 1, self.network.width),
        }
        if self._attends:
            cache["clock"] = new_clock(rows, kept, weight.device)
        return cache | {"encoder": _caches(self.encoder, rows, kept), "decoder": _caches(self.decoder, rows, kept)}

    def encode(self, x: Tensor, context: LocalContext, cache: Cache | None = None) -> Tensor:
        """The local encoder, [B, N, E]."""
        for index, layer in enumerate(self.encoder):
            x = layer(x, context, part(part(cache, "encoder"), str(index)))
        return x

    def decode(
        self, x: Tensor, vectors: Tensor, batch: Batch, context: LocalContext, cache: Cache | None = None
    ) -> Tensor:
        """The local decoder over encoded bytes [B, N, E] and the latent vectors [B, P, D] of their patches."""
        for index, layer in enumerate(self.decoder):
            if index < len(self.reads):
                x = x + self.reads[index](x, vectors, batch)
            x = layer(x, context, part(part(cache, "decoder"), str(index)))
        if cache is not None and self._attends:
            advance(cache["clock"], batch.document)
        return x

    @property
    def _attends(self) -> bool:
        return "attention" in (self.network.encoder_mixer, self.network.decoder_mixer)

    def context(self, batch: Batch, x: Tensor, cache: Cache | None = None) -> LocalContext:
        """What the mixers of both stacks need to know of a batch."""
        network = self.network
        span = None
        if self._attends:
            clock = part(cache, "clock")
            head_width, dtype = network.local_width // network.local_heads, table_dtype(x)
            span = make_span(
                batch.document, network.local_window, head_width, network.rope_theta, dtype=dtype, clock=clock
            )
        taps = network.conv_taps if "conv" in (network.encoder_mixer, network.decoder_mixer) else 0
        if cache is None:
            return LocalContext(span, reach_back(batch.document, taps, x.dtype))
        # Before its beginning a stream is zero, so every position reaches everything before it.
        everywhere = x.new_ones(1).expand(1, x.shape[1] + taps - 1, 1)
        return LocalContext(span, (everywhere,) * (taps - 1), num_valid(batch.document))


def _stack(network: Network, mixer: str, layers: int, ffn_width: int) -> nn.ModuleList:
    return nn.ModuleList(LocalBlock(network, mixer, ffn_width) for _ in range(layers))


def _caches(stack: nn.ModuleList, rows: int, kept: int) -> Cache:
    caches: Cache = {}
    for index, layer in enumerate(stack):
        assert isinstance(layer, LocalBlock)
        caches[str(index)] = layer.new_cache(rows, kept)
    return caches


def _read(network: Network) -> nn.Module:
    if network.read == "add":
        return AddRead(network.local_width, network.width)
    return CrossAttentionRead(network.local_width, network.width, network.local_heads)


def _experts(latent: LatentTransformer, config: Config) -> Experts:
    return Experts(latent, config.expert.count, config.network.width, config.expert.dispatcher_width)
