"""Writes small data files in every format the loader reads, for the tests beside it."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard


def jsonl_bytes(texts: Sequence[str | None], field: str = "text") -> bytes:
    """One object a line, with neighbours of the text field that must be skipped."""
    rows = ({"id": index, "meta": {field: ["no"]}, field: text} for index, text in enumerate(texts))
    return b"".join(json.dumps(row, ensure_ascii=index % 2 == 0).encode() + b"\n" for index, row in enumerate(rows))


def gzip_members(data: bytes, members: int = 1) -> bytes:
    """`data` as concatenated gzip members."""
    size = max(1, -(-len(data) // members))
    return b"".join(gzip.compress(data[at : at + size], 1) for at in range(0, max(len(data), 1), size))


def zstd_frames(data: bytes, frames: int = 1, window_log: int | None = None) -> bytes:
    """`data` as concatenated Zstandard frames."""
    size = max(1, -(-len(data) // frames))
    parameters = zstandard.ZstdCompressionParameters(compression_level=3, window_log=window_log or 0)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    return b"".join(compressor.compress(data[at : at + size]) for at in range(0, max(len(data), 1), size))


def write_parquet(
    path: Path,
    texts: Sequence[str | bytes | None],
    *,
    kind: pa.DataType | None = None,
    field: str = "text",
    row_group_size: int = 7,
    **options: object,
) -> Path:
    """A table with an id, the text as `kind`, and a nested column."""
    kind = kind or pa.string()
    plain = pa.binary() if any(isinstance(text, bytes) for text in texts) else pa.string()
    column = pa.array(texts, type=plain).cast(kind) if plain != kind else pa.array(texts, type=kind)
    columns = {
        "id": pa.array(range(len(texts))),
        field: column,
        "nested": pa.array([{"text": ["x"]}] * len(texts), type=pa.struct({"text": pa.list_(pa.string())})),
    }
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size, **options)
    return path
