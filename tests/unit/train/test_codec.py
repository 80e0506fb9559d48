"""Training of codecs: that they learn, that the codebook stays in use, and the commands around it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from neat.cli import main
from neat.data.pictures import read_pictures, to_square
from neat.data.png import write_png
from neat.data.worlds.tiles import draw
from neat.errors import DataError, UsageError
from neat.model.images.codec import PaletteCodec, Shape, VQCodec
from neat.train.codec import Codebook, measure, train_codec

TINY = Shape(codes=16, code_width=4, codec_width=8, image_size=8, grid=4)


def tiles(number: int, colours: int = 5) -> torch.Tensor:
    """Images of 4 x 4 flat cells of 2 x 2 pixels."""
    codes = torch.randint(colours, (number, 16), generator=torch.Generator().manual_seed(0))
    images = PaletteCodec(colours, TINY.image_size, TINY.grid).decode(codes)
    return (images * 255).round().to(torch.uint8)


def test_a_codec_learns_tiles_and_is_a_function_of_the_seed() -> None:
    images = tiles(64)
    codec = train_codec(TINY, images, steps=600, batch=16, learning_rate=1e-2)
    quality = measure(codec, images)
    assert quality.tiles > 0.99 and quality.error < 0.01 and quality.perplexity > 3
    assert not any(parameter.requires_grad for parameter in codec.parameters())
    few = [train_codec(TINY, images, steps=3, batch=4).codebook for _ in range(2)]
    assert torch.equal(*few)


def test_an_entry_is_the_running_mean_of_its_features_and_dead_ones_move() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, TINY.code_width, generator=generator)
    codec = VQCodec(TINY)
    book = Codebook(codec, features, generator)
    before = codec.codebook.clone()
    chosen = torch.full((50,), 3)
    book.follow(features[:50], chosen)
    expected = (0.99 * before[3] + 0.01 * features[:50].sum(0)) / (0.99 + 0.5)
    assert torch.allclose(codec.codebook[3], expected, atol=1e-5)
    assert torch.allclose(codec.codebook[4], before[4], atol=1e-5), "what nothing chose stays"
    for _ in range(400):
        book.follow(features[:50], chosen)
    distances = torch.cdist(codec.codebook, features[:50]).amin(1)
    others = torch.arange(TINY.codes) != 3
    assert (distances[others] < 5e-3).all(), "entries that nothing chose stand where features are"


def test_measures_of_an_exact_codec() -> None:
    images = tiles(20, colours=4)
    quality = measure(PaletteCodec(4, TINY.image_size, TINY.grid), images)
    assert quality.error < 1e-12 and quality.tiles == 1 and 3.8 < quality.perplexity <= 4


def test_pictures_become_squares() -> None:
    wide = np.arange(4 * 8 * 3, dtype=np.uint8).reshape(4, 8, 3)
    assert (to_square(wide, 4) == wide[:, 2:6]).all()
    assert (to_square(wide, 8) == np.repeat(np.repeat(wide[:, 2:6], 2, 0), 2, 1)).all()
    assert to_square(wide, 2)[0, 0].tolist() == np.rint(wide[:2, 2:4].reshape(4, 3).mean(0)).tolist()


def test_pictures_are_read_from_files_of_every_kind(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    codes = [number % 18 for number in range(64)]
    write_png(tmp_path / "a.png", draw(codes))
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": "w", "images": [codes, codes]}) + "\n", encoding="utf-8")
    png = (tmp_path / "a.png").read_bytes()
    pq.write_table(pa.table({"id": ["x", "y"], "bytes": [png, b"\xff\xd8 jpeg"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"pixels": [bytes([0, 16, 8, 4])]}), tmp_path / "b.parquet")
    for name, number, left_out in (("a.png", 1, 0), ("a.jsonl", 2, 0), ("a.parquet", 1, 1), (".", 1, 0)):
        found, skipped = read_pictures(tmp_path / name, 64)
        assert (len(found), skipped) == (number, left_out), name
        assert all((pixels == draw(codes)).all() for _, pixels in found)
    (_, grey), *_ = read_pictures(tmp_path / "b.parquet", 2)[0]
    assert grey[..., 0].tolist() == [[0, 255], [127, 63]]
    (tmp_path / "c.jsonl").write_text('{"images": [[99]]}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"image 1 of line 1 .* is not made of tiles"):
        read_pictures(tmp_path / "c.jsonl", 8)
    with pytest.raises(DataError, match="cannot read"):
        read_pictures(tmp_path / "none.png", 8)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(UsageError, match="images of shape"):
        train_codec(TINY, torch.zeros(2, 3, 16, 16, dtype=torch.uint8), steps=1)
    with pytest.raises(UsageError, match="0 steps"):
        train_codec(TINY, tiles(2), steps=0)


def test_the_commands_train_and_encode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, codec, rows = (str(tmp_path / name) for name in ("w.jsonl", "c.safetensors", "r.jsonl"))
    assert main(["data", "world", "maze", "--size", "3", "--grid", "4", "--rows", "3", "--out", world]) == 0
    sizes = ["--codes", "8", "--code-width", "4", "--codec-width", "4", "--image-size", "8", "--grid", "4"]
    capsys.readouterr()
    assert main(["data", "codec", "--data", world, *sizes, "--steps", "2", "--out", codec, "--json"]) == 0
    trained = json.loads(capsys.readouterr().out)
    encode = ["data", "encode", "--data", world, "--codec", codec, "--out", rows, "--png", str(tmp_path / "png")]
    assert main([*encode, "--json"]) == 0
    encoded = json.loads(capsys.readouterr().out)
    assert encoded["images"] == trained["images"] and encoded["codes"] == 16
    assert encoded["squared_error"] == pytest.approx(trained["squared_error"])
    written = [json.loads(line) for line in Path(rows).read_text(encoding="utf-8").splitlines()]
    assert len(written) == trained["images"] and all(len(row["images"][0]) == 16 for row in written)
    assert len(list((tmp_path / "png").iterdir())) == min(16, trained["images"])
    assert main(["data", "codec", "--data", world, "--out", codec, "--codes", "1"]) == 2
    assert "--codes" in capsys.readouterr().err
