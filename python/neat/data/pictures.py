"""Pictures from files: PNG, Parquet tables of PNG images or of small grey squares, rows of drawn worlds.

All become squares of one size: cut to the middle, then averaged down or repeated up.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neat import _native
from neat.data.png import SIGNATURE, decode_png
from neat.data.worlds.tiles import Tile, draw
from neat.errors import DataError

Pixels = npt.NDArray[np.uint8]
_GREY_LEVELS = 16
"""Largest value of a pixel of the small grey squares."""


def read_pictures(path: Path, size: int) -> tuple[list[tuple[str, Pixels]], int]:
    """Name and RGB pixels, uint8 [size, size, 3], of each picture of a file or folder, and how many were left out.

    Left out are images of a Parquet table that are no PNG. Rows of a world give each of their images.

    Raises:
        DataError: There is no such file, it is damaged or of no known kind, or it holds no picture.
    """
    try:
        found = list(_pictures(path))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    pictures = [(name, to_square(pixels, size)) for name, pixels in found if pixels is not None]
    if not pictures:
        raise DataError(f"{path} holds no picture that can be read", hint="PNG images are; convert others first")
    return pictures, len(found) - len(pictures)


def to_square(pixels: Pixels, size: int) -> Pixels:
    """The middle square of a picture, [h, w, 3], at another size: the mean of each area, or the nearest pixel."""
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    if side < size:
        nearest = np.arange(size) * side // size
        return np.ascontiguousarray(square[nearest][:, nearest])
    edges = np.arange(size) * side // size
    sums = np.add.reduceat(np.add.reduceat(square.astype(np.int64), edges, axis=0), edges, axis=1)
    lengths = np.diff([*edges, side])
    mean: Pixels = np.rint(sums / (lengths[:, None, None] * lengths[None, :, None])).astype(np.uint8)
    return mean


def _pictures(path: Path) -> Iterator[tuple[str, Pixels | None]]:
    if path.is_dir():
        for file in sorted(path.glob("*.png")):
            yield file.name, decode_png(file.read_bytes(), str(file))
    elif path.name.endswith((".jsonl", ".jsonl.gz")):
        yield from _drawn(path)
    else:
        with path.open("rb") as opened:
            is_png = opened.read(len(SIGNATURE)) == SIGNATURE
        if is_png:
            yield path.name, decode_png(path.read_bytes(), str(path))
        else:
            yield from _table(path)


def _drawn(path: Path) -> Iterator[tuple[str, Pixels]]:
    """The images of rows that `neat data world` wrote, painted with its palette."""
    raw = path.read_bytes()
    lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            images = [np.array(codes, np.int64) for codes in row["images"]]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"line {number} of {path} has no images: {error}") from error
        for index, codes in enumerate(images):
            if codes.ndim != 1 or not codes.size or codes.min() < 0 or codes.max() >= len(Tile):
                raise DataError(f"image {index + 1} of line {number} of {path} is not made of tiles")
            yield f"{row.get('id', number)}-{index}", draw(codes.tolist())


def _table(path: Path) -> Iterator[tuple[str, Pixels | None]]:
    """A Parquet table with `bytes` (image files) or `pixels` (grey squares with values from 0 to 16)."""
    columns = json.loads(_native.inspect(str(path), "id"))["columns"]
    kind = next((name for name in ("bytes", "pixels") if name in columns), None)
    if kind is None:
        raise DataError(f"{path} is no picture, and no Parquet table with a column `bytes` or `pixels`")
    names = _native.column(str(path), "id") if "id" in columns else []
    for number, value in enumerate(_native.column(str(path), kind)):
        name = (names[number] or b"").decode(errors="replace") if names else str(number)
        if value is None:
            yield name, None
        elif kind == "pixels":
            yield name, _grey(value, name)
        else:
            yield name, decode_png(value, f"{name} of {path}") if value.startswith(SIGNATURE) else None


def _grey(value: bytes, name: str) -> Pixels:
    side = round(len(value) ** 0.5)
    levels = np.frombuffer(value, np.uint8)
    if side * side != len(value) or levels.max(initial=0) > _GREY_LEVELS:
        raise DataError(f"the pixels of {name} are no square of values from 0 to {_GREY_LEVELS}")
    grey = (levels.astype(np.uint16) * 255 // _GREY_LEVELS).astype(np.uint8).reshape(side, side, 1)
    return np.repeat(grey, 3, axis=2)
