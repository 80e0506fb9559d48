"""Floating-point operations of one forward pass, by closed formula.

A multiplication and an addition count as two. Matrix products and attention are counted, element-wise work and norms
are not (below 2 % at every preset), nor is what happens once per pass whatever its length, like the projection of a
codebook. One training step costs three forward passes: the backward pass is two.
"""

from __future__ import annotations

from neat.config.schema import Config, Network
from neat.model.vocabulary import NUM_BYTES


def forward_per_byte(config: Config, window: int) -> float:
    """Operations per byte position of a row of `window` positions."""
    network = config.network
    if not network.patches:
        latent = network.layers * _latent_layer(network, _reach(network.window, window))
        return latent + _inputs(network, network.width) + 2 * network.width * NUM_BYTES
    per_patch = _latent(config, window) + _pool_and_read(config) + _image_head(config)
    return _local(config, window) + per_patch / mean_patch(config)


def train_per_byte(config: Config, window: int) -> float:
    """Operations of forward and backward pass per byte position."""
    return 3 * forward_per_byte(config, window)


def mean_patch(config: Config) -> float:
    """Bytes per patch that the patcher is set up for."""
    patcher = config.patcher
    if patcher.rule in ("byte", "stride"):
        return 1.0 if patcher.rule == "byte" else float(min(patcher.stride, patcher.max_length))
    return patcher.mean_length


def _reach(limit: int, window: int) -> float:
    """Mean number of keys per query: causal, and at most `limit` of them (0: no limit)."""
    if not limit or limit >= window:
        return (window + 1) / 2
    return limit - limit * (limit - 1) / (2 * window)


def _latent(config: Config, window: int) -> float:
    network = config.network
    return network.layers * _latent_layer(network, _reach(network.window, max(1, round(window / mean_patch(config)))))


def _latent_layer(network: Network, keys: float) -> float:
    width = network.width
    kv_width = width // network.heads * network.kv_heads
    projections = 2 * width * (2 * width + 2 * kv_width)
    return projections + 4 * keys * width + 6 * width * network.ffn_width


def _inputs(network: Network, width: int) -> float:
    return 2 * NUM_BYTES * width if network.ngram_features else 0.0


def _local(config: Config, window: int) -> float:
    network = config.network
    width = network.local_width
    stacks = (
        (network.encoder_layers, network.encoder_mixer, network.encoder_ffn_width),
        (network.decoder_layers, network.decoder_mixer, network.decoder_ffn_width),
    )
    cost = _inputs(network, width) + 2 * width * (NUM_BYTES + config.vision.on)
    for layers, mixer, ffn_width in stacks:
        attention = 8 * width * width + 4 * _reach(network.local_window, window) * width
        mixing = attention if mixer == "attention" else 2 * network.conv_taps * width
        cost += layers * (mixing + 6 * width * ffn_width)
    if network.read == "cross_attention":
        # Query and output projections per byte, then one attention over the vectors of one patch.
        cost += network.decoder_layers * (4 * width * width + 4 * (network.width // width) * width)
    return cost


def _pool_and_read(config: Config) -> float:
    """Operations per patch of pooling and of the projections that the reads need."""
    network = config.network
    width, latent, longest = network.local_width, network.width, config.patcher.max_length
    if network.pool == "cross_attention":
        queries = latent // width
        pool = 2 * width * latent + 4 * longest * width * width + 4 * queries * longest * width + 2 * queries * width**2
    else:
        pool = 4 * width * latent
    if network.read == "cross_attention":
        return pool + network.decoder_layers * 4 * latent * width
    return pool + 2 * latent * width


def _image_head(config: Config) -> float:
    """Operations per patch of predicting an image code; every patch is asked, also in text."""
    vision, width = config.vision, config.network.width
    return vision.on * (vision.head_layers * 6 * width * vision.head_ffn_width + 2.0 * width * vision.codes)
