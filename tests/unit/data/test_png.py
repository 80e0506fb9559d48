"""PNG files against another implementation of the format: files made here by hand with each filter and colour type."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from neat.data.png import SIGNATURE, decode_png, encode_png, write_png
from neat.errors import DataError


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def file(
    lines: bytes, width: int, height: int, depth: int, colour: int, *, extra: bytes = b"", interlace: int = 0
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return SIGNATURE + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def filtered(samples: np.ndarray, kind: int) -> bytes:
    """Lines [height, bytes] of RGB with a filter of the specification, by its formulas on whole numbers."""
    height, width = samples.shape
    wide = np.zeros((height + 1, width + 3), int)
    wide[1:, 3:] = samples
    a, b, c = wide[1:, :-3], wide[:-1, 3:], wide[:-1, :-3]
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    paeth = np.where((pa <= pb) & (pa <= pc), a, np.where(pb <= pc, b, c))
    guess = (0 * a, a, b, (a + b) // 2, paeth)[kind]
    body = ((samples - guess) % 256).astype(np.uint8)
    return b"".join(bytes([kind]) + line.tobytes() for line in body)


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_is_undone(kind: int) -> None:
    pixels = np.random.default_rng(kind).integers(0, 256, (7, 5, 3), np.uint8)
    data = file(filtered(pixels.reshape(7, 15).astype(int), kind), 5, 7, 8, 2)
    assert (decode_png(data, "x") == pixels).all()


def test_a_written_file_is_read_back(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 4, 3), np.uint8)
    write_png(tmp_path / "a.png", pixels)
    assert (decode_png((tmp_path / "a.png").read_bytes(), "a.png") == pixels).all()


def test_colour_types() -> None:
    grey = file(b"\0\x07\xff", 2, 1, 8, 0)
    assert decode_png(grey, "x").tolist() == [[[7] * 3, [255] * 3]]
    # Two bits a sample: indices 0, 1, 2 and a fourth that is cut off; the second colour is half transparent.
    extra = chunk(b"PLTE", bytes([10, 20, 30, 0, 0, 0, 70, 80, 90])) + chunk(b"tRNS", bytes([255, 128]))
    indexed = file(b"\0" + bytes([0b00011000]), 3, 1, 2, 3, extra=extra)
    assert decode_png(indexed, "x").tolist() == [[[10, 20, 30], [127] * 3, [70, 80, 90]]]
    alpha = file(b"\0" + bytes([100, 150, 200, 0]), 1, 1, 8, 6)
    assert decode_png(alpha, "x").tolist() == [[[255] * 3]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GIF89a", "is not a PNG"),
        (encode_png(np.zeros((2, 2, 3), np.uint8))[:-14], "damaged"),
        (encode_png(np.zeros((2, 2, 3), np.uint8))[:40] + b"\0" * 30, "damaged"),
        (file(b"\0" * 40, 2, 2, 8, 2, interlace=1), "interlaced"),
        (file(b"\0" * 40, 2, 2, 16, 2), "16 bits"),
        (file(b"\5" * 14, 2, 2, 8, 2), "no filter 5"),
        (file(b"\0", 2, 2, 8, 2), "damaged"),
        (file(b"\0", 1 << 20, 1 << 20, 8, 2), "1048576 x 1048576 pixels"),
    ],
    ids=str.split("no-png cut garbage interlaced deep filter short huge"),
)
def test_what_cannot_be_read_is_a_data_error(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_png(data, "picture.png")
