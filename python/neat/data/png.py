"""PNG files without an image library: true colour is written, the common kinds are read.

Follows the PNG specification (third edition, W3C 2025): chunks, filters and sample depths.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neat.errors import DataError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
Pixels = npt.NDArray[np.uint8]

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples a pixel of each colour type: grey, RGB, palette, grey and alpha, RGBA."""
_PALETTE = 3
_MAX_PIXELS = 1 << 26


def encode_png(pixels: Pixels) -> bytes:
    """The contents of a PNG file of RGB pixels, uint8 [height, width, 3]."""
    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    # Each line begins with its filter, 0: none.
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    data = zlib.compress(lines.tobytes(), 9)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def write_png(path: Path, pixels: Pixels) -> None:
    """Writes RGB pixels, uint8 [height, width, 3]."""
    path.write_bytes(encode_png(pixels))


def decode_png(data: bytes, name: str) -> Pixels:
    """RGB pixels, uint8 [height, width, 3], of the contents of a PNG file; what is transparent becomes white.

    Args:
        data: The file: 8 bits a sample, or a palette of 1, 2, 4 or 8 bits; not interlaced.
        name: What the data is called in errors.

    Raises:
        DataError: The data is no PNG, damaged, or of another kind.
    """
    if not data.startswith(SIGNATURE):
        raise DataError(f"{name} is not a PNG image", hint="convert it to PNG first")
    try:
        return _decode(data, name)
    except (struct.error, zlib.error, ValueError, IndexError, KeyError) as error:
        raise DataError(f"{name} is a damaged PNG image: {error}") from error


def _decode(data: bytes, name: str) -> Pixels:
    chunks = list(_chunks(data))
    header = dict(chunks)[b"IHDR"]
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if interlaced or not (depth == 8 or (colour == _PALETTE and depth in (1, 2, 4))):
        kind = "interlaced" if interlaced else f"of {depth} bits a sample"
        raise DataError(f"{name} is a PNG image that is {kind}", hint="save it with 8 bits a sample, not interlaced")
    if width * height > _MAX_PIXELS:
        raise DataError(f"{name} has {width} x {height} pixels", hint="scale it down first")
    channels = _CHANNELS[colour]
    line_bytes = -(-width * channels * depth // 8)
    packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
    size = height * (line_bytes + 1)
    # The limit keeps a small file from unpacking to more than its header says.
    lines = np.frombuffer(zlib.decompressobj().decompress(packed, size), np.uint8, size).reshape(height, -1)
    samples = _unfiltered(lines, max(1, channels * depth // 8))
    if depth < 8:
        bits = np.unpackbits(samples, axis=1).reshape(height, -1, depth)
        samples = bits @ (1 << np.arange(depth - 1, -1, -1)).astype(np.uint8)
    return _rgb(samples[:, : width * channels].reshape(height, width, channels), colour, dict(chunks))


def _rgb(samples: Pixels, colour: int, chunks: dict[bytes, bytes]) -> Pixels:
    if colour == _PALETTE:
        table = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
        alpha = np.full(len(table), 255, np.uint8)
        given = np.frombuffer(chunks.get(b"tRNS", b""), np.uint8)
        alpha[: len(given)] = given
        index = samples[..., 0]
        return _on_white(table[index], alpha[index][..., None])
    if samples.shape[-1] in (2, 4):
        return _on_white(np.broadcast_to(samples[..., :-1], (*samples.shape[:2], 3)), samples[..., -1:])
    return np.ascontiguousarray(np.broadcast_to(samples, (*samples.shape[:2], 3)))


def _on_white(colours: Pixels, alpha: Pixels) -> Pixels:
    share = alpha.astype(np.uint16)
    mixed: Pixels = ((colours * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)
    return mixed


def _unfiltered(lines: Pixels, step: int) -> Pixels:
    """Undoes the filter of each line; `step` is the distance in bytes of the sample to the left."""
    above = np.zeros(lines.shape[1] - 1, np.uint8)
    result = np.empty((len(lines), len(above)), np.uint8)
    for number, line in enumerate(lines):
        above = _line(int(line[0]), line[1:], above, step)
        result[number] = above
    return result


def _line(kind: int, line: Pixels, above: Pixels, step: int) -> Pixels:
    if kind == 0:
        return line
    if kind == 2:
        return line + above
    left = bytearray(step) + bytearray(len(line))
    corner, up = bytes(step) + above.tobytes(), above.tobytes()
    for at, value in enumerate(line.tobytes()):
        a, b, c = left[at], up[at], corner[at]
        guess = {1: a, 3: (a + b) // 2}.get(kind)
        left[at + step] = (value + (_paeth(a, b, c) if guess is None else guess)) & 255
    if kind not in (1, 3, 4):
        raise ValueError(f"there is no filter {kind}")
    return np.frombuffer(bytes(left[step:]), np.uint8)


def _paeth(a: int, b: int, c: int) -> int:
    """The neighbour (left, above, corner) that is nearest to left + above - corner."""
    guess = a + b - c
    distances = abs(guess - a), abs(guess - b), abs(guess - c)
    return (a, b, c)[distances.index(min(distances))]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        (check,) = struct.unpack_from(">I", data, at + 8 + length)
        if check != zlib.crc32(kind + body):
            raise ValueError(f"the checksum of chunk {kind!r} is wrong")
        yield kind, body
        at += 12 + length
