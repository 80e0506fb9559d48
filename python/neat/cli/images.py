"""The part of `neat data` that makes images: worlds, codecs, images as codes."""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neat.cli.arguments import add_json_option, print_json, print_table, say
from neat.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from neat.cli.arguments import Parser
    from neat.config.vision import Vision

COMMANDS = {
    "world": "write puzzles of a small world as JSON lines with images as codes",
    "codec": "train an image codec on pictures",
    "encode": "turn pictures into JSON lines with images as codes",
}
_PNGS = 16


def configure(commands: Mapping[str, Parser]) -> None:
    """The options of the commands named in `COMMANDS`."""
    _configure_world(commands["world"])
    _configure_codec(commands["codec"])
    _configure_encode(commands["encode"])
    for name in COMMANDS:
        add_json_option(commands[name])


def _configure_world(world: Parser) -> None:
    world.add_argument("world", metavar="WORLD", help="frozenlake, maze or minibehavior")
    world.add_argument("--arm", default="images", metavar="ARM", help="direct, text or images (%(default)s)")
    world.add_argument("--size", type=int, default=4, metavar="N", help="cells per side of the board (%(default)s)")
    world.add_argument("--grid", type=int, default=8, metavar="N", help="cells per side of the images (%(default)s)")
    world.add_argument("--max-steps", type=int, default=0, metavar="N", help="most actions; 0 fits the size")
    world.add_argument("--rows", type=int, default=1000, metavar="N", help="puzzles to write (%(default)s)")
    world.add_argument("--seed", type=int, default=0, metavar="N", help="other seed, other puzzles (%(default)s)")
    world.add_argument("--split", default="all", metavar="SPLIT", help="all, train or test; the last two share none")
    world.add_argument("--out", type=Path, required=True, metavar="FILE", help="FILE.jsonl or FILE.jsonl.gz to write")
    world.add_argument("--png", type=Path, metavar="DIR", help=f"also write the images of {_PNGS} puzzles, to look at")


def _configure_codec(codec: Parser) -> None:
    _add_pictures(codec)
    codec.add_argument("--out", type=Path, required=True, metavar="FILE", help="the codec file to write (safetensors)")
    codec.add_argument("--steps", type=int, default=2000, metavar="N", help="updates (%(default)s)")
    codec.add_argument("--batch", type=int, default=32, metavar="N", help="images an update (%(default)s)")
    codec.add_argument("--learning-rate", type=float, default=1e-3, metavar="X", help="at its peak (%(default)s)")
    codec.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and draws (%(default)s)")
    codec.add_argument("--codes", type=int, default=1024, metavar="N", help="entries of the codebook (%(default)s)")
    codec.add_argument("--code-width", type=int, default=64, metavar="N", help="width of an entry (%(default)s)")
    codec.add_argument("--codec-width", type=int, default=64, metavar="N", help="channels (%(default)s)")
    codec.add_argument("--image-size", type=int, default=64, metavar="N", help="pixels per side (%(default)s)")
    codec.add_argument("--grid", type=int, default=8, metavar="N", help="codes per side (%(default)s)")


def _configure_encode(encode: Parser) -> None:
    _add_pictures(encode)
    encode.add_argument("--codec", required=True, metavar="FILE", help="a codec file, or palette:N")
    encode.add_argument("--out", type=Path, required=True, metavar="FILE", help="FILE.jsonl or FILE.jsonl.gz to write")
    encode.add_argument("--png", type=Path, metavar="DIR", help=f"also write {_PNGS} images as the codec shows them")


def _add_pictures(parser: Parser) -> None:
    parser.add_argument(
        "--data",
        nargs="+",
        type=Path,
        required=True,
        metavar="FILE",
        help="PNG files or folders of them, Parquet tables of images, rows of `neat data world`",
    )


def run_world(arguments: argparse.Namespace) -> int:
    """`neat data world`."""
    from neat.data.worlds.rows import rows

    if arguments.rows < 1:
        raise UsageError(f"{arguments.rows} rows are not possible", hint="--rows 1000")
    found = rows(
        arguments.world,
        arguments.arm,
        size=arguments.size,
        seed=arguments.seed,
        split=arguments.split,
        grid=arguments.grid,
        max_steps=arguments.max_steps,
    )
    made = list(islice(found, arguments.rows))
    write_rows(arguments.out, made)
    if arguments.png:
        _write_pngs(arguments.png, made[:_PNGS])
    answers = sorted({str(row["answer"]) for row in made})
    figures = {
        "out": str(arguments.out),
        "rows": len(made),
        "images": sum(len(row["images"]) for row in made),
        "answers": {answer: sum(row["answer"] == answer for row in made) for answer in answers},
    }
    (print_json if arguments.json else print_table)(figures)
    return 0


def run_codec(arguments: argparse.Namespace) -> int:
    """`neat data codec`."""
    from neat.config.vision import Vision  # pydantic
    from neat.model.images.codec import Shape, save_codec  # torch
    from neat.train.codec import measure, train_codec

    names = ("codes", "code_width", "codec_width", "image_size", "grid")
    shape = Shape(**{name: getattr(arguments, name) for name in names})
    _check_ranges(Vision, {name: getattr(arguments, name) for name in names})
    images, _ = _images(arguments.data, shape.image_size)
    codec = train_codec(
        shape,
        images,
        steps=arguments.steps,
        batch=arguments.batch,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        report=lambda step, quality: say(
            f"step {step}: squared error {quality.error:.5f}, {quality.perplexity:.1f} codes in use, "
            f"{quality.tiles:.2%} of the cells keep their colour"
        ),
    )
    digest = save_codec(codec, arguments.out)
    quality = measure(codec, images)
    figures = {
        "out": str(arguments.out),
        "digest": digest,
        "images": len(images),
        "parameters": sum(parameter.numel() for parameter in codec.parameters()),
        "squared_error": quality.error,
        "codes_in_use": quality.perplexity,
        "cell_accuracy": quality.tiles,
    }
    (print_json if arguments.json else print_table)(figures)
    return 0


def run_encode(arguments: argparse.Namespace) -> int:
    """`neat data encode`."""
    import torch

    from neat.config.vision import PALETTE
    from neat.data.worlds.rows import IMAGE
    from neat.model.images.codec import PaletteCodec, load_codec, palette_colours
    from neat.train.codec import measure

    name = arguments.codec
    codec = PaletteCodec(palette_colours(name)) if name.startswith(PALETTE) else load_codec(Path(name))
    images, names = _images(arguments.data, codec.image_size)
    with torch.no_grad():
        codes = torch.cat([codec.encode(some / 255) for some in torch.split(images, 64)])
    write_rows(
        arguments.out,
        ({"id": name, "text": IMAGE, "images": [row]} for name, row in zip(names, codes.tolist(), strict=True)),
    )
    if arguments.png:
        with torch.no_grad():
            shown = (codec.decode(codes[:_PNGS]) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        _write_shown(arguments.png, shown)
    quality = measure(codec, images)
    figures = {
        "out": str(arguments.out),
        "images": len(images),
        "codes": codec.grid**2,
        "squared_error": quality.error,
        "codes_in_use": quality.perplexity,
        "cell_accuracy": quality.tiles,
    }
    (print_json if arguments.json else print_table)(figures)
    return 0


def _check_ranges(section: type[Vision], values: Mapping[str, int]) -> None:
    """Refuses sizes outside the ranges of the settings of the same names."""
    from pydantic import ValidationError

    try:
        section.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-") if first["loc"] else "image-size"
        raise UsageError(f"--{option}: {first['msg']}") from error


def _images(paths: list[Path], size: int) -> tuple[Tensor, list[str]]:
    """All pictures of the files, uint8 [n, 3, size, size], and their names."""
    import numpy as np
    import torch

    from neat.data.pictures import read_pictures

    found: list[tuple[str, Any]] = []
    for path in paths:
        pictures, left_out = read_pictures(path, size)
        if left_out:
            say(f"{path}: {left_out} images are not PNG and were left out")
        found += pictures
    pixels = np.stack([pixels for _, pixels in found])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), [name for name, _ in found]


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes rows as JSON lines, gzipped where the name says so."""
    if path.suffix == ".gz":
        # Without a name and a time in the header equal rows give equal files.
        data = gzip.compress(_lines(rows), 6, mtime=0)
    elif path.suffix == ".jsonl":
        data = _lines(rows)
    else:
        raise UsageError(f"{path} is not a name for JSON lines", hint="choose FILE.jsonl or FILE.jsonl.gz")
    try:
        path.write_bytes(data)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from error


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _write_shown(folder: Path, images: Iterable[Any]) -> None:
    from neat.data.png import write_png

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, pixels in enumerate(images):
            write_png(folder / f"{number}.png", pixels)
    except OSError as error:
        raise DataError(f"cannot write images to {folder}: {error.strerror}") from error


def _write_pngs(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    from neat.data.png import write_png
    from neat.data.worlds.tiles import draw

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            for number, codes in enumerate(row["images"]):
                write_png(folder / f"{row['id']}-{number}.png", draw(codes))
    except OSError as error:
        raise DataError(f"cannot write images to {folder}: {error.strerror}") from error
