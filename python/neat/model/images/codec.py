"""Image codecs: pixels to a grid of codes and back.

B images, H x H pixels, G codes per side, K codes, C width of a codebook entry, W channels. Images are float tensors
[B, 3, H, H] with values from 0 to 1, codes int64 [B, G * G], row by row from the top left. All weights are frozen
where a codec is part of a network: a codebook that learns with the discrepancy loss pulls its entries together.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neat.config.vision import PALETTE, Vision
from neat.errors import ConfigError, DataError
from neat.model.images.palette import MAX_COLOURS, palette

FORMAT = "neat-codec-1"


class Codec(nn.Module, ABC):
    """What every codec offers.

    Attributes:
        codebook: What each code stands for, [K, C]; distances between entries say which codes are alike.
    """

    codebook: nn.Parameter

    def __init__(self, image_size: int, grid: int) -> None:
        super().__init__()
        self.image_size, self.grid = image_size, grid

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Codes [B, G * G] of images [B, 3, H, H]."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Images [B, 3, H, H] of codes [B, G * G]."""


class PaletteCodec(Codec):
    """Cells of one flat colour each: code k is colour k of the palette. Exact, and without anything to learn.

    An entry of the codebook is the colour and a place of its own (one-hot): codes of like colours are a little nearer,
    and no code is a mixture of others, so that a linear map of the entries can tell them all apart.
    """

    def __init__(self, colours: int, image_size: int = 64, grid: int = 8) -> None:
        super().__init__(image_size, grid)
        rgb = torch.tensor(palette(colours) / 255, dtype=torch.float32)
        self.codebook = nn.Parameter(torch.cat([rgb, torch.eye(colours)], dim=1), requires_grad=False)

    def encode(self, images: Tensor) -> Tensor:
        """The colour nearest to the mean of each cell."""
        cells = F.avg_pool2d(images, self.image_size // self.grid).flatten(2).transpose(1, 2)
        return _nearest(cells, self._rgb().to(cells.dtype))

    def decode(self, codes: Tensor) -> Tensor:
        """Flat cells."""
        cells = _planes(F.embedding(codes, self._rgb()), self.grid)
        return F.interpolate(cells, size=(self.image_size, self.image_size), mode="nearest")

    def _rgb(self) -> Tensor:
        return self.codebook[:, :3]


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a learned codec; the names are those of the section [vision]."""

    codes: int
    code_width: int
    codec_width: int
    image_size: int
    grid: int

    @classmethod
    def of(cls, vision: Vision) -> Shape:
        """The sizes that a configuration asks for."""
        return cls(vision.codes, vision.code_width, vision.codec_width, vision.image_size, vision.grid)

    @property
    def halvings(self) -> int:
        """How often an image is halved on its way to the grid.

        Raises:
            ConfigError: Pixels per code are no power of two.
        """
        pixels = self.image_size // self.grid
        if self.image_size % self.grid or pixels & (pixels - 1):
            raise ConfigError(
                f"an image of {self.image_size} pixels cannot be halved down to a grid of {self.grid}",
                hint="choose image_size = grid times a power of two",
            )
        return pixels.bit_length() - 1


class VQCodec(Codec):
    """A convolutional autoencoder with a vector-quantised middle (VQ-VAE, arXiv 1711.00937).

    Args:
        shape: Sizes.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape.image_size, shape.grid)
        self.shape = shape
        width, halvings = shape.codec_width, shape.halvings
        self.encoder = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            *(nn.Sequential(nn.SiLU(), nn.Conv2d(width, width, 4, stride=2, padding=1)) for _ in range(halvings)),
            Residual(width),
            Residual(width),
            nn.Conv2d(width, shape.code_width, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(shape.code_width, width, 1),
            Residual(width),
            Residual(width),
            *(nn.Sequential(nn.SiLU(), nn.ConvTranspose2d(width, width, 4, 2, 1)) for _ in range(halvings)),
            nn.SiLU(),
            nn.Conv2d(width, 3, 3, padding=1),
        )
        self.codebook = nn.Parameter(torch.randn(shape.codes, shape.code_width))
        self.requires_grad_(False)

    def features(self, images: Tensor) -> Tensor:
        """What the encoder says of each cell, [B, G * G, C]."""
        seen: Tensor = self.encoder(2 * images - 1)
        return seen.flatten(2).transpose(1, 2)

    def nearest(self, features: Tensor) -> Tensor:
        """The code nearest to each feature, [..., C] -> int64 [...]."""
        return _nearest(features, self.codebook)

    def pixels(self, vectors: Tensor) -> Tensor:
        """Images of one vector a cell, [B, G * G, C] -> [B, 3, H, H], not yet limited to 0..1."""
        drawn: Tensor = self.decoder(_planes(vectors, self.grid))
        return (drawn + 1) / 2

    def encode(self, images: Tensor) -> Tensor:
        """See `Codec.encode`."""
        return self.nearest(self.features(images))

    def decode(self, codes: Tensor) -> Tensor:
        """See `Codec.decode`."""
        return self.pixels(F.embedding(codes, self.codebook)).clamp(0, 1)


class Residual(nn.Module):
    """x + convolutions of the normalised x, [B, W, h, w] -> the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Adds what the block has to say."""
        # Each place is normalised for itself: a code should not depend on what is drawn elsewhere.
        normed = x * x.square().mean(1, keepdim=True).add(1e-6).rsqrt()
        added: Tensor = self.second(F.silu(self.first(F.silu(normed))))
        return x + added


def make_codec(vision: Vision) -> Codec:
    """The codec that `vision.codec` names: a palette, or a file. On the meta device nothing is read: shapes only.

    Without a name the codec has its sizes and first values, but nothing to say: whoever reads text refuses images.

    Raises:
        ConfigError: The file was made with other sizes.
        DataError: The file is missing or damaged.
    """
    if vision.codec.startswith(PALETTE):
        return PaletteCodec(palette_colours(vision.codec), vision.image_size, vision.grid)
    shape = Shape.of(vision)
    if torch.get_default_device().type == "meta" or not vision.codec:
        return VQCodec(shape)
    codec = load_codec(Path(vision.codec))
    if codec.shape != shape:
        _refuse_other_sizes(vision.codec, asdict(codec.shape), asdict(shape))
    return codec


def save_codec(codec: VQCodec, path: Path) -> str:
    """Writes a learned codec with its sizes; returns the digest of its weights."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in codec.state_dict().items()}
    digest = _digest(tensors)
    metadata = {"format": FORMAT, "shape": json.dumps(asdict(codec.shape)), "digest": digest}
    try:
        safetensors.torch.save_file(tensors, path, metadata=metadata)
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"cannot write the codec {path}: {error}") from error
    return digest


def load_codec(path: Path) -> VQCodec:
    """Reads what `save_codec` wrote; every tensor is checked before it is used.

    Raises:
        DataError: The file is missing, is no codec, or is damaged.
    """
    if not path.is_file():
        raise DataError(f"there is no image codec {path}", hint="make one with `neat data codec`, or use palette:N")
    tensors, shape, digest = _read(path)
    with torch.random.fork_rng(devices=[]):
        codec = VQCodec(shape)
    wanted = {name: tuple(tensor.shape) for name, tensor in codec.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise DataError(
                f"the codec {path} has {name} of shape {found.get(name)}, expected {wanted.get(name)}",
                hint="it is damaged or was made by another version",
            )
    if _digest(tensors) != digest or not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise DataError(f"the weights of the codec {path} are damaged", hint="copy it again, or train it again")
    codec.load_state_dict(tensors)
    return codec


def _read(path: Path) -> tuple[dict[str, Tensor], Shape, str]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise DataError(f"{path} is no image codec of this program", hint="make one with `neat data codec`")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        sizes = {name: int(value) for name, value in json.loads(metadata["shape"]).items()}
        return tensors, Shape(**sizes), metadata["digest"]
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"the codec {path} cannot be read: {error}", hint="it is damaged") from error


def _refuse_other_sizes(path: str, found: Mapping[str, int], wanted: Mapping[str, int]) -> None:
    name = next(name for name in wanted if wanted[name] != found[name])
    settings = " ".join(f"--set vision.{name}={value}" for name, value in found.items() if wanted[name] != value)
    raise ConfigError(f"vision.{name} is {wanted[name]}, the codec {path} has {found[name]}", hint=f"use {settings}")


def palette_colours(name: str) -> int:
    """Colours of the palette of that name, palette:N.

    Raises:
        ConfigError: There is no such palette.
    """
    number = name.removeprefix(PALETTE)
    if not number.isdecimal() or not 2 <= int(number) <= MAX_COLOURS:
        raise ConfigError(f"vision.codec is {name}", hint=f"a palette has 2 to {MAX_COLOURS} colours: palette:16")
    return int(number)


def _planes(cells: Tensor, grid: int) -> Tensor:
    """Cells in rows as a picture, [B, G * G, C] -> [B, C, G, G]."""
    return cells.transpose(1, 2).reshape(cells.shape[0], cells.shape[2], grid, grid)


def _nearest(x: Tensor, entries: Tensor) -> Tensor:
    """Index of the entry [K, C] nearest to each vector [..., C]; of equals the first."""
    distances = entries.square().sum(1) - 2 * x @ entries.T
    return distances.argmin(-1)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    hasher = sha256()
    for name in sorted(tensors):
        hasher.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype}".encode())
        hasher.update(tensors[name].contiguous().numpy().tobytes())
    return hasher.hexdigest()[:32]
