"""Weights of a checkpoint as the weight files of an export, copied tensor by tensor.

The invariant: every value is copied bit for bit, whatever the size of the model, in memory of a few megabytes. Nothing
is decoded; what is not finite is refused. The file format is that of safetensors
(https://github.com/huggingface/safetensors): length of the header (u64), header (JSON), data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import numpy as np

from neat.errors import CheckpointError
from neat.train.exported import INDEX, WEIGHTS

MAX_SHARD_BYTES = 5_000_000_000
"""Largest weight file; the Hub's own tools split at the same size."""
TIED_FROM_BYTES = 1 << 20
"""Equal tensors of this size or more are stored once. Smaller ones cost nothing and may be equal by chance."""

_CHUNK_BYTES = 1 << 22
_MAX_HEADER_BYTES = 100_000_000
_WIDTHS: Mapping[str, tuple[str, int]] = {
    "F64": ("<u8", 0x7FF0_0000_0000_0000),
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
"""Type -> (integer of its size, bits of the exponent); a number is not finite when all of these are set."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a safetensors file: where its bytes are, from the beginning of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def num_bytes(self) -> int:
        """Bytes of data."""
        return self.end - self.start


def write_weights(
    source: Path, folder: Path, metadata: Mapping[str, str], max_shard_bytes: int = MAX_SHARD_BYTES
) -> dict[str, str]:
    """Copies the tensors of `source` into weight files in `folder`.

    Args:
        source: A safetensors file that was verified.
        folder: Where the weight files go; with several of them an index beside them.
        metadata: Written into the header of each.
        max_shard_bytes: Data per file; a tensor is never divided.

    Returns:
        SHA-256 of each file written, by name.

    Raises:
        CheckpointError: The file is damaged or holds a number that is not finite.
        OSError: The disk refuses.
    """
    with source.open("rb") as file:
        tensors = list(read_header(file, source))
        unique, tied = _tied(file, tensors, source)
        shards = _shards(unique, max_shard_bytes)
        told = dict(metadata) | ({"tied": json.dumps(tied, sort_keys=True)} if tied else {})
        names = [WEIGHTS] if len(shards) == 1 else [_shard_name(i, len(shards)) for i in range(len(shards))]
        sums = {
            name: _write(file, folder / name, shard, told)
            for name, shard in zip(names, shards, strict=True)
        }  # fmt: skip
    if len(shards) > 1:
        where = {tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        index = {"metadata": {"total_size": sum(tensor.num_bytes for tensor in unique)}, "weight_map": where}
        text = json.dumps(index, indent=1, sort_keys=True).encode()
        (folder / INDEX).write_bytes(text)
        sums[INDEX] = sha256(text).hexdigest()
    return sums


def read_header(file: BinaryIO, path: Path) -> Iterator[Stored]:
    """The tensors of a safetensors file, in the order of their data.

    Raises:
        CheckpointError: It is no such file.
    """
    try:
        size = path.stat().st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_MAX_HEADER_BYTES, size - 8):
            raise ValueError("the header has no possible length")
        header = json.loads(file.read(length))
        first = 8 + length
        found = []
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            if not 0 <= start <= end <= size - first:
                raise ValueError(f"{name} lies outside the file")
            found.append(Stored(name, str(entry["dtype"]), tuple(entry["shape"]), first + start, first + end))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"`{path}` is not a safetensors file: {error}") from error
    yield from sorted(found, key=lambda tensor: (tensor.start, tensor.end))


def _tied(file: BinaryIO, tensors: list[Stored], path: Path) -> tuple[list[Stored], dict[str, str]]:
    """The tensors to store, and the names of those that are equal to a stored one. Refuses what is not finite."""
    unique: list[Stored] = []
    tied: dict[str, str] = {}
    seen: dict[tuple[object, ...], str] = {}
    for tensor in tensors:
        digest = sha256()
        for chunk in _chunks(file, tensor):
            digest.update(chunk)
            if not _finite(chunk, tensor.dtype):
                raise CheckpointError(
                    f"`{path.name}` holds numbers that are not finite, in {tensor.name}",
                    hint="export an earlier checkpoint: --checkpoint STEP",
                    where=f"in {path.parent}",
                )
        key = (tensor.dtype, tensor.shape, digest.digest())
        if tensor.num_bytes >= TIED_FROM_BYTES and key in seen:
            tied[tensor.name] = seen[key]
        else:
            seen[key] = tensor.name
            unique.append(tensor)
    return unique, tied


def _finite(chunk: bytes, dtype: str) -> bool:
    if dtype not in _WIDTHS:
        return True
    kind, exponent = _WIDTHS[dtype]
    return not bool(np.any((np.frombuffer(chunk, dtype=kind) & exponent) == exponent))


def _shards(tensors: list[Stored], limit: int) -> list[list[Stored]]:
    shards: list[list[Stored]] = [[]]
    filled = 0
    for tensor in tensors:
        if shards[-1] and filled + tensor.num_bytes > limit:
            shards.append([])
            filled = 0
        shards[-1].append(tensor)
        filled += tensor.num_bytes
    return shards


def _shard_name(index: int, total: int) -> str:
    return f"model-{index + 1:05d}-of-{total:05d}.safetensors"


def _write(file: BinaryIO, target: Path, tensors: list[Stored], metadata: Mapping[str, str]) -> str:
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for tensor in tensors:
        entry = {"dtype": tensor.dtype, "shape": list(tensor.shape)}
        header[tensor.name] = entry | {"data_offsets": [offset, offset + tensor.num_bytes]}
        offset += tensor.num_bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # data begins at a multiple of eight, as the format asks
    digest = sha256()
    with target.open("wb") as out:
        for piece in (len(text).to_bytes(8, "little"), text):
            out.write(piece)
            digest.update(piece)
        for tensor in tensors:
            for chunk in _chunks(file, tensor):
                out.write(chunk)
                digest.update(chunk)
    return digest.hexdigest()


def _chunks(file: BinaryIO, tensor: Stored) -> Iterator[bytes]:
    file.seek(tensor.start)
    left = tensor.num_bytes
    while left > 0:
        chunk = file.read(min(_CHUNK_BYTES, left))
        if not chunk:
            raise CheckpointError(f"`{file.name}` ended early")
        left -= len(chunk)
        yield chunk
