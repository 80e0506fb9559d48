"""Floating-point operations of one forward pass, by closed formula.

A multiplication and an addition count as two. Matrix products and attention are counted, element-wise work and norms
are not (below 2 % at every preset), nor is what happens once per pass whatever its length, like the projection of a
codebook. One training step costs three forward passes: the backward pass is two. What a run does in part counts as the
whole: middle layers that run twice in its end, and positions that halt early, which save what nobody knows before.
"""

from __future__ import annotations

from neat.config.schema import Config, Network
from neat.model.halting import HIDDEN
from neat.model.vocabulary import NUM_BYTES


def forward_per_byte(config: Config, window: int) -> float:
    """Operations per byte position of a row of `window` positions."""
    network = config.network
    if not network.patches:
        return _latent(config, window) + _inputs(network, network.width) + _prediction(config, window)
    per_patch = _latent(config, window) + _pool(config) + _image_head(config)
    return _encoder(config, window) + per_patch / mean_patch(config) + _prediction(config, window)


def train_per_byte(config: Config, window: int) -> float:
    """Operations of forward and backward pass per byte position."""
    recursion = config.recursion
    # Predictions after earlier applications; those of weight zero only tell the halting head what came true.
    passes = sum(3 if recursion.weights[application] else 1 for application in recursion.decoded)
    return 3 * forward_per_byte(config, window) + passes * _prediction(config, window)


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
    """Operations per position of the latent transformer in a row of `window` bytes."""
    network = config.network
    length = max(1, round(window / mean_patch(config))) if network.patches else window
    keys = _reach(network.window, length)
    return _layer_runs(config) * _latent_layer(config, keys) + _memory(config, keys, length) + _halting(config)


def _halting(config: Config) -> float:
    """What the head asks for that judges the prediction after each application."""
    return 2 * HIDDEN * config.network.width * config.recursion.depth if config.recursion.halting else 0


def _layer_runs(config: Config) -> int:
    """How often a latent layer runs in one forward pass, all layers together."""
    layers = config.network.layers
    looped = layers - 2 * (layers // 3) if config.network.loop_middle else 0
    return (layers + looped) * config.recursion.depth * config.recursion.micro_steps


def _latent_layer(config: Config, keys: float) -> float:
    network = config.network
    return _attention(config, keys) + 6 * network.width * network.ffn_width


def _attention(config: Config, keys: float) -> float:
    width = config.network.width
    projections = 2 * width * (2 * width + 2 * _kv_width(config.network))
    return projections + 4 * (keys + config.memory.persistent) * width


def _kv_width(network: Network) -> int:
    return network.width // network.heads * network.kv_heads


def _memory(config: Config, keys: float, length: int) -> float:
    """What memories add per position of rows of `length` positions; they take part in one application only."""
    network, memory = config.network, config.memory
    count = len(memory.layer_indices(network.layers))
    if not count:
        return 0.0
    each = memory_layer_per_patch(config, length)
    if memory.variant == "mac":
        each += 4 * network.width * (_kv_width(network) + keys)
    elif memory.variant == "lmm":
        each -= _layer_runs(config) / network.layers * _attention(config, keys)
    return count * each


def memory_layer_per_patch(config: Config, length: int) -> float:
    """Operations of one memory per position of rows of `length` positions: projections, reading and writing by chunks.

    Per head of width K and hidden width F: 12KF for gradients and 12KF for reads, in both of which documents that begin
    inside a chunk have their share, 8KF for writes, 4C(K + F) for what the C patches of a chunk read of each other, and
    2C^2 for how far each one's step has faded.
    """
    width, memory = config.network.width, config.memory
    chunk, head_width = min(memory.chunk, length), width // memory.heads
    products = 32 * head_width * memory.hidden + 4 * chunk * (head_width + memory.hidden)
    inside = 2 * chunk * chunk + 6 * chunk + (2 * chunk * head_width if memory.gram else 0)
    projections = 10 * width * width + 6 * width * memory.heads + 6 * memory.conv_taps * width
    return projections + memory.heads * (products + inside)


def _inputs(network: Network, width: int) -> float:
    return 2 * NUM_BYTES * width if network.ngram_features else 0.0


def _encoder(config: Config, window: int) -> float:
    network = config.network
    layers, mixer, ffn_width = network.encoder_layers, network.encoder_mixer, network.encoder_ffn_width
    return _inputs(network, network.local_width) + layers * _local_layer(network, window, mixer, ffn_width)


def _local_layer(network: Network, window: int, mixer: str, ffn_width: int) -> float:
    width = network.local_width
    attention = 8 * width * width + 4 * _reach(network.local_window, window) * width
    return (attention if mixer == "attention" else 2 * network.conv_taps * width) + 6 * width * ffn_width


def _prediction(config: Config, window: int) -> float:
    """Operations per byte from latent vectors to logits: reads, local decoder, head."""
    network = config.network
    if not network.patches:
        return 2 * network.width * NUM_BYTES
    width, layers = network.local_width, network.decoder_layers
    cost = 2.0 * width * (NUM_BYTES + config.vision.on)
    cost += layers * _local_layer(network, window, network.decoder_mixer, network.decoder_ffn_width)
    if network.read == "cross_attention":
        # Keys and values per patch, query and output per byte, then one attention over the vectors of one patch.
        per_byte = layers * (4 * width * width + 4 * (network.width // width) * width)
        return cost + per_byte + layers * 4 * network.width * width / mean_patch(config)
    return cost + 2 * network.width * width / mean_patch(config)


def _pool(config: Config) -> float:
    """Operations per patch of pooling."""
    network = config.network
    width, latent, longest = network.local_width, network.width, config.patcher.max_length
    if network.pool != "cross_attention":
        return 4 * width * latent
    queries = latent // width
    return 2 * width * latent + 4 * longest * width * width + 4 * queries * longest * width + 2 * queries * width**2


def _image_head(config: Config) -> float:
    """Operations per patch of predicting an image code; every patch is asked, also in text."""
    vision, width = config.vision, config.network.width
    return vision.on * (vision.head_layers * 6 * width * vision.head_ffn_width + 2.0 * width * vision.codes)
