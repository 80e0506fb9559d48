"""Training of an image codec: reconstruction, commitment, and a codebook that follows the features (VQ-VAE).

A codebook entry is the running mean of the features that chose it (arXiv 1711.00937, appendix A.1). Entries that
nothing chooses are put where a feature is, or a small codebook collapses to a few of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from neat.errors import UsageError
from neat.model.images.codec import Codec, Shape, VQCodec
from neat.model.images.palette import palette

COMMITMENT = 0.25
DECAY = 0.99
"""Decay a step of the running sums behind the codebook."""
DEAD = 0.03
"""Running count below which an entry moves to a feature of the batch."""
_SAMPLE = 512
"""Images that the first codebook is clustered from, and that a report is measured on."""
_CLUSTERINGS = 10


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a codec does on images.

    Attributes:
        error: Mean squared error a channel, with values from 0 to 1.
        perplexity: Codes in use: the exponential of the entropy of how often each is chosen, in nats.
        tiles: Share of the cells whose mean colour is still nearest to the same colour of the tile palette.
    """

    error: float
    perplexity: float
    tiles: float


class Codebook:
    """Running sums behind the entries of a codec in training."""

    def __init__(self, codec: VQCodec, features: Tensor, generator: torch.Generator) -> None:
        self.codec, self.generator = codec, generator
        entries = _cluster(features, codec.shape.codes, generator)
        codec.codebook.data.copy_(entries)
        self.count = torch.ones(codec.shape.codes)
        self.sum = entries.clone()

    @torch.no_grad()
    def follow(self, features: Tensor, codes: Tensor) -> None:
        """Moves the entries towards the features [n, C] that chose them, codes [n]."""
        chosen = F.one_hot(codes, len(self.count)).to(features.dtype)
        self.count.mul_(DECAY).add_(chosen.sum(0), alpha=1 - DECAY)
        self.sum.mul_(DECAY).add_(chosen.T @ features, alpha=1 - DECAY)
        dead = torch.nonzero(self.count < DEAD).flatten()
        places = torch.randint(len(features), (len(dead),), generator=self.generator)
        self.count[dead], self.sum[dead] = 1.0, features[places]
        self.codec.codebook.data.copy_(self.sum / self.count[:, None])


def train_codec(
    shape: Shape,
    images: Tensor,
    *,
    steps: int,
    batch: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    report: Callable[[int, Quality], None] = lambda step, quality: None,
) -> VQCodec:
    """Trains a codec on images.

    Args:
        shape: Sizes of the codec.
        images: uint8 [n, 3, H, H].
        steps: Updates.
        batch: Images of an update.
        learning_rate: Of Adam at its peak; warmed up over a twentieth of the steps, then lowered to 0 by a cosine.
        seed: Of the weights and of the draws.
        report: Called ten times on the way, with the step.

    Raises:
        UsageError: There is nothing to do, or the images have another size.
    """
    if steps < 1 or batch < 1:
        raise UsageError(f"{steps} steps of {batch} images are not possible", hint="--steps 2000 --batch 32")
    if images.shape[1:] != (3, shape.image_size, shape.image_size):
        raise UsageError(f"images of shape {tuple(images.shape[1:])} for a codec of {shape.image_size} pixels")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        codec = VQCodec(shape)
    weights = [*codec.encoder.parameters(), *codec.decoder.parameters()]
    for weight in weights:
        weight.requires_grad_(True)
    optimizer = torch.optim.Adam(weights, learning_rate, betas=(0.9, 0.99))
    with torch.no_grad():
        codebook = Codebook(codec, codec.features(_drawn(images, _SAMPLE, generator)).flatten(0, 1), generator)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * _schedule(step, steps)
        features, codes = _update(codec, _drawn(images, batch, generator), optimizer)
        codebook.follow(features, codes)
        if (step + 1) % max(1, steps // 10) == 0:
            report(step + 1, measure(codec, images[:_SAMPLE]))
    return codec.requires_grad_(False)


def _update(codec: VQCodec, images: Tensor, optimizer: torch.optim.Optimizer) -> tuple[Tensor, Tensor]:
    features = codec.features(images)
    codes = codec.nearest(features.detach())
    entries = F.embedding(codes, codec.codebook)
    # Straight through: the decoder sees the entry, the encoder gets its gradient.
    drawn = codec.pixels(features + (entries - features).detach())
    loss = F.mse_loss(drawn, images) + COMMITMENT * F.mse_loss(features, entries)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
    optimizer.step()
    return features.detach().flatten(0, 1), codes.flatten()


@torch.no_grad()
def measure(codec: Codec, images: Tensor) -> Quality:
    """The quality of a codec on images, uint8 [n, 3, H, H]."""
    errors, tiles, counts = 0.0, 0.0, torch.zeros(len(codec.codebook))
    for some in torch.split(images, 64):
        seen = some / 255
        codes = codec.encode(seen)
        drawn = codec.decode(codes)
        counts += torch.bincount(codes.flatten(), minlength=len(counts))
        errors += float(F.mse_loss(drawn, seen)) * len(some)
        tiles += float((_tiles(drawn, codec.grid) == _tiles(seen, codec.grid)).float().mean()) * len(some)
    shares = counts / counts.sum()
    entropy = -float(torch.special.xlogy(shares, shares).sum())
    return Quality(errors / len(images), math.exp(entropy), tiles / len(images))


def _tiles(images: Tensor, grid: int) -> Tensor:
    """The colour of the whole palette nearest to the mean of each cell, [B, G * G]."""
    cells = F.avg_pool2d(images, images.shape[-1] // grid).flatten(2).transpose(1, 2)
    colours = torch.tensor(palette(64) / 255, dtype=cells.dtype)
    return torch.cdist(cells, colours[None]).argmin(-1)


def _drawn(images: Tensor, number: int, generator: torch.Generator) -> Tensor:
    return images[torch.randint(len(images), (number,), generator=generator)] / 255


def _schedule(step: int, steps: int) -> float:
    warm = max(1, steps // 20)
    return min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _cluster(features: Tensor, codes: int, generator: torch.Generator) -> Tensor:
    """Means of `codes` clusters of features [n, C] (Lloyd's algorithm), a little apart where there are too few."""
    places = torch.randint(len(features), (codes,), generator=generator)
    means = features[places] + 1e-3 * torch.randn(codes, features.shape[1], generator=generator)
    for _ in range(_CLUSTERINGS):
        nearest = torch.cdist(features, means).argmin(1)
        sums = torch.zeros_like(means).index_add_(0, nearest, features)
        counts = torch.bincount(nearest, minlength=codes)[:, None]
        means = torch.where(counts > 0, sums / counts.clamp(min=1), means)
    return means
