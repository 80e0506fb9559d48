"""Settings of images as codes in the stream of bytes (MVoT)."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from neat.config.base import Breach, Section

PALETTE = "palette:"


class Vision(Section):
    """Images of grid x grid codes, read and written between bytes."""

    on: bool = False
    """Read and write images. false: no image parts, bytes only."""
    codec: str = ""
    """File of the image codec (safetensors, made by `neat data codec`), or palette:N for N flat colours. Empty: the
    image parts are there, but the text may hold no images."""
    codes: int = Field(default=1024, ge=2, le=65_536)
    """Entries of the codebook (2 to 65536)."""
    code_width: int = Field(default=64, ge=1, le=4096)
    """Width of a codebook entry (1 to 4096)."""
    codec_width: int = Field(default=64, ge=1, le=4096)
    """Channels of the codec's convolutions (1 to 4096)."""
    image_size: int = Field(default=64, ge=8, le=1024)
    """Height and width of an image in pixels (8 to 1024); a multiple of vision.grid."""
    grid: int = Field(default=8, ge=1, le=64)
    """Codes per side of an image (1 to 64)."""
    head_layers: int = Field(default=2, ge=0, le=16)
    """Feed-forward layers before the image head (0 to 16)."""
    head_ffn_width: int = Field(default=256, ge=8, le=65_536)
    """Hidden width of those layers (8 to 65536)."""
    loss_weight: float = Field(default=1.0, ge=0.0, le=1e3)
    """Weight of the cross-entropy of image codes (0 to 1000)."""
    discrepancy_weight: float = Field(default=0.1, ge=0.0, le=1e3)
    """Weight of the token discrepancy loss (0 to 1000)."""
    max_images: int = Field(default=5, ge=0, le=10_000)
    """Most images in one generated text (0 to 10000)."""
    min_gap: int = Field(default=20, ge=0, le=1_000_000)
    """Fewest bytes between two generated images (0 to 1000000)."""

    @property
    def image_codes(self) -> int:
        """Codes of one image."""
        return self.grid * self.grid

    @property
    def palette(self) -> int:
        """Colours of the palette that `codec` names; 0 when it names a file."""
        number = self.codec.removeprefix(PALETTE)
        return int(number) if self.codec.startswith(PALETTE) and number.isdecimal() else 0

    def breaches(self) -> Iterator[Breach]:
        """An image divides into its grid, and a palette has as many colours as there are codes."""
        if self.on and self.codec.startswith(PALETTE) and self.palette < 2:
            yield Breach("codec", f"{self.codec!r} names no number of colours", "palette:16 has sixteen")
        if self.on and self.palette >= 2 and self.palette != self.codes:
            yield Breach(
                "codes",
                f"is {self.codes}, the palette has {self.palette} colours",
                f"set vision.codes={self.palette}",
            )
        if self.image_size % self.grid:
            yield Breach("image_size", f"{self.image_size} is not a multiple of vision.grid ({self.grid})")
