"""Codecs: exact palettes, and learned ones as far as their arithmetic and their files go."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from neat.config.vision import Vision
from neat.errors import ConfigError, DataError
from neat.model.images.codec import PaletteCodec, Shape, VQCodec, load_codec, make_codec, save_codec

SMALL = Shape(codes=7, code_width=5, codec_width=6, image_size=16, grid=4)


def small(seed: int = 0) -> VQCodec:
    torch.manual_seed(seed)
    return VQCodec(SMALL)


@pytest.mark.parametrize(("colours", "image_size", "grid"), [(2, 8, 8), (18, 64, 8), (64, 40, 5)])
def test_a_palette_round_trip_is_exact(colours: int, image_size: int, grid: int) -> None:
    codec = PaletteCodec(colours, image_size, grid)
    codes = torch.randint(colours, (50, grid * grid), generator=torch.Generator().manual_seed(0))
    images = codec.decode(codes)
    assert images.shape == (50, 3, image_size, image_size)
    assert (codec.encode(images) == codes).all()
    noisy = images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    assert (codec.encode(noisy) == codes).float().mean() > 0.999 or image_size == grid


def test_entries_of_a_palette_are_linearly_independent() -> None:
    codebook = PaletteCodec(20).codebook
    assert codebook.shape == (20, 23) and not codebook.requires_grad
    assert torch.linalg.matrix_rank(codebook) == 20


def test_shapes_of_a_learned_codec() -> None:
    codec = small()
    images = torch.rand(3, 3, 16, 16)
    codes = codec.encode(images)
    assert codes.shape == (3, 16) and codes.dtype == torch.int64
    decoded = codec.decode(codes)
    assert decoded.shape == images.shape and decoded.min() >= 0 and decoded.max() <= 1
    assert not any(parameter.requires_grad for parameter in codec.parameters())


def test_codes_are_the_nearest_entries() -> None:
    codec = small()
    features = codec.features(torch.rand(4, 3, 16, 16))
    distances = torch.cdist(features.double(), codec.codebook.double()[None])
    assert (codec.nearest(features) == distances.argmin(-1)).all()


def test_a_code_depends_on_its_neighbourhood_only() -> None:
    torch.manual_seed(0)
    codec = VQCodec(replace(SMALL, image_size=64, grid=16))
    images = torch.rand(1, 3, 64, 64)
    changed = images.clone()
    changed[..., :4, :4] = 0
    difference = (codec.features(images) - codec.features(changed)).abs().amax(-1).reshape(16, 16)
    assert difference[0, 0] > 0 and difference[8:, 8:].max() == 0


def test_a_saved_codec_is_the_same_codec(tmp_path: Path) -> None:
    codec = small()
    save_codec(codec, tmp_path / "codec.safetensors")
    loaded = load_codec(tmp_path / "codec.safetensors")
    assert loaded.shape == SMALL
    for (name, before), (_, after) in zip(codec.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(before, after), name
    state = torch.random.get_rng_state()
    load_codec(tmp_path / "codec.safetensors")
    assert torch.equal(state, torch.random.get_rng_state()), "reading draws no random numbers"


def test_the_configuration_decides_and_the_file_must_agree(tmp_path: Path) -> None:
    path = tmp_path / "codec.safetensors"
    save_codec(small(), path)
    vision = Vision(codec=str(path), **asdict(SMALL))
    made = make_codec(vision)
    assert isinstance(made, VQCodec) and made.shape == SMALL
    with pytest.raises(ConfigError, match=r"vision\.codes is 9, the codec .* has 7") as caught:
        make_codec(vision.model_copy(update={"codes": 9}))
    assert "--set vision.codes=7" in caught.value.hint
    with pytest.raises(ConfigError, match=r"vision\.grid is 2"):
        make_codec(vision.model_copy(update={"grid": 2}))
    with torch.device("meta"):
        assert make_codec(vision.model_copy(update={"codec": "nowhere.safetensors"})).codebook.is_meta
    palette = make_codec(Vision(codec="palette:18", codes=18))
    assert isinstance(palette, PaletteCodec) and palette.codebook.shape[0] == 18


def damaged(path: Path, change: str) -> None:
    with safetensors.safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if change == "weights":
        tensors["codebook"][0, 0] += 1
    elif change == "format":
        metadata["format"] = "pt"
    elif change == "tensor":
        del tensors["codebook"]
    elif change == "sizes":
        metadata["shape"] = json.dumps(json.loads(metadata["shape"]) | {"codes": 8})
    elif change == "metadata":
        del metadata["digest"]
    safetensors.torch.save_file(tensors, path, metadata=metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("weights", "weights of the codec .* are damaged"),
        ("format", "no image codec"),
        ("tensor", "codebook of shape None"),
        ("sizes", r"codebook of shape \(7, 5\), expected \(8, 5\)"),
        ("metadata", "cannot be read"),
    ],
)
def test_a_damaged_codec_is_named(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "codec.safetensors"
    save_codec(small(), path)
    damaged(path, change)
    with pytest.raises(DataError, match=message):
        load_codec(path)


def test_missing_codecs_and_impossible_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no image codec") as caught:
        load_codec(tmp_path / "none.safetensors")
    assert "neat data codec" in caught.value.hint
    (tmp_path / "text.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(DataError, match="cannot be read"):
        load_codec(tmp_path / "text.safetensors")
    with pytest.raises(ConfigError, match="palette:70"):
        make_codec(Vision(codec="palette:70"))
    with pytest.raises(ConfigError, match="cannot be halved"):
        VQCodec(replace(SMALL, image_size=24))
