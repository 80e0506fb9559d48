"""Settings of the network: local encoder, latent transformer, local decoder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from neat.config.base import Breach, Integers, Section


class Network(Section):
    """Shape of the model. Widths are in floats, windows in positions of the level they belong to."""

    patches: bool = True
    """Group bytes into patches. false: a flat transformer over bytes with the latent sizes below, no local parts."""
    width: int = Field(default=192, ge=8, le=65_536)
    """Width of the latent transformer (8 to 65536)."""
    layers: int = Field(default=3, ge=1, le=512)
    """Layers of the latent transformer (1 to 512)."""
    heads: int = Field(default=3, ge=1, le=512)
    """Attention heads of the latent transformer (1 to 512); divides network.width."""
    kv_heads: int = Field(default=3, ge=1, le=512)
    """Key and value heads (1 to 512); divides network.heads."""
    ffn_width: int = Field(default=512, ge=8, le=262_144)
    """Hidden width of the latent feed-forward parts (8 to 262144)."""
    window: int = Field(default=0, ge=0, le=1_048_576)
    """Latent positions that attention looks back over (0 to 1048576; 0: all of the row)."""
    rope_theta: float = Field(default=10_000.0, ge=1.0, le=1e9)
    """Base wavelength of the rotary positions (1 to 1e9)."""
    rope_share: float = Field(default=1.0, gt=0.0, le=1.0)
    """Share of a latent head's channels that carry rotary positions (above 0, up to 1)."""
    qk_norm: bool = True
    """Normalise queries and keys before attention."""
    qk_gain: float = Field(default=0.0, ge=0.0, le=100.0)
    """First value of a learned factor on the queries of each latent head (0 to 100; 0: no factor)."""
    kv_conv: int = Field(default=0, ge=0, le=64)
    """Latent positions that a short convolution on keys and values sees, the current one included (0 to 64; below 2:
    none)."""
    xsa: bool = False
    """Let each latent head learn to leave out what it finds along its own position's value."""
    attention_gate: bool = False
    """Let the input of a latent layer scale the output of each of its heads."""
    unet_skips: bool = False
    """Add the output of each latent layer of the first half to the input of its mirror image in the second."""
    activation: Literal["swiglu", "leaky_relu2"] = "swiglu"
    """Feed-forward parts: gated, or squared leaky ReLU with half as many hidden floats again, for equal parameters."""
    loop_middle: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the run after which the middle third of the latent layers runs twice (0 to below 1; 0: never)."""
    local_width: int = Field(default=128, ge=8, le=65_536)
    """Width of the byte-level parts (8 to 65536)."""
    encoder_layers: int = Field(default=1, ge=0, le=64)
    """Layers of the local encoder (0 to 64)."""
    encoder_mixer: Literal["conv", "attention"] = "conv"
    """How encoder positions see each other: a short causal convolution or windowed attention."""
    encoder_ffn_width: int = Field(default=0, ge=0, le=262_144)
    """Hidden width of the encoder's feed-forward parts (0 to 262144; 0: none)."""
    decoder_layers: int = Field(default=2, ge=1, le=64)
    """Layers of the local decoder (1 to 64)."""
    decoder_mixer: Literal["conv", "attention"] = "conv"
    """How decoder positions see each other: a short causal convolution or windowed attention."""
    decoder_ffn_width: int = Field(default=352, ge=0, le=262_144)
    """Hidden width of the decoder's feed-forward parts (0 to 262144; 0: none)."""
    local_heads: int = Field(default=2, ge=1, le=512)
    """Attention heads of the byte-level parts (1 to 512); divides network.local_width."""
    local_window: int = Field(default=256, ge=1, le=1_048_576)
    """Bytes that byte-level attention looks back over (1 to 1048576)."""
    conv_taps: int = Field(default=4, ge=1, le=64)
    """Bytes seen by a short convolution, the current one included (1 to 64)."""
    pool: Literal["last_mean", "cross_attention"] = "last_mean"
    """How a patch is made from its bytes: last byte and mean, or cross-attention."""
    read: Literal["add", "cross_attention"] = "add"
    """How a byte reads the last closed patch: added to its state, or by cross-attention."""
    hash_orders: Integers = (3, 4, 5, 6)
    """Byte n-grams with an embedding table each, by length (each 1 to 32). Empty: none."""
    hash_rows: int = Field(default=16_384, ge=1, le=2**26)
    """Rows per n-gram table (1 to 2^26)."""
    smear: bool = True
    """Let each byte embedding take in a learned share of the previous one."""
    ngram_features: bool = True
    """Give the n-gram model's next-byte distribution to the network as an input."""

    def breaches(self) -> Iterator[Breach]:
        """Heads split their widths evenly, and a head's width is even, as rotary positions need."""
        yield from _split("heads", self.heads, "width", self.width)
        yield from _split("local_heads", self.local_heads, "local_width", self.local_width)
        if self.heads % self.kv_heads:
            yield Breach("kv_heads", f"{self.kv_heads} does not divide network.heads ({self.heads})")
        if self.patches and "cross_attention" in (self.pool, self.read) and self.width % self.local_width:
            yield Breach(
                "local_width",
                f"{self.local_width} does not divide network.width ({self.width})",
                "cross-attention cuts a patch into vectors of the local width",
            )
        if self.loop_middle and self.layers < 3:
            yield Breach("loop_middle", f"needs three layers, network.layers is {self.layers}")
        if len(set(self.hash_orders)) != len(self.hash_orders):
            yield Breach("hash_orders", "names a length twice")
        if not all(1 <= order <= 32 for order in self.hash_orders):
            yield Breach("hash_orders", "must lie between 1 and 32 each")


def _split(key: str, heads: int, width_key: str, width: int) -> Iterator[Breach]:
    if width % heads:
        yield Breach(key, f"{heads} does not divide network.{width_key} ({width})")
    elif (width // heads) % 2:
        yield Breach(key, f"{heads} leaves heads of odd width {width // heads}", "rotary positions need an even one")
