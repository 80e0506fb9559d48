"""Text per second through `WindowStream`, beside pyarrow with NumPy packing and bare decompression.

    python benchmarks/loader.py ../shared/data [--json loader.json] [--repeat 3]

Every row of the table is one pass over all text of its input in this process, best of `--repeat`. The stream
shuffles and packs byte patches into rows of 8,192 positions (nine arrays, 60 bytes for a byte of text) in its
own thread; the pyarrow peer concatenates text into rows of uint8 without order, patches or documents.
MB are 10^6 bytes.
"""

import argparse
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq
import zstandard
from machine import describe

from neat._native import Corpus, Patcher, Preparer, WindowStream

POSITIONS = 8192
ROWS = 16


def stream_pass(corpus: Corpus, positions: int = POSITIONS) -> int:
    """One epoch of windows; returns the bytes of text packed."""
    preparer = Preparer(None, Patcher("byte"), hash_orders=[], hash_rows=1, features=False)
    stream = WindowStream(corpus, preparer, lanes=64, prefetch=4)
    total = corpus.num_bytes
    packed = 0
    while packed < total:
        batch = stream.next(ROWS, positions, positions + 1)
        packed += int((batch["targets"] >= 0).sum())
    stream.close()
    return packed


def documents_pass(corpus: Corpus) -> int:
    """Every document as `bytes`, in file order."""
    return sum(map(len, corpus.documents("all")))


def scan_pass(paths: list[Path]) -> int:
    """Opening the corpus: lines are read and checked, of Parquet only the footer."""
    return Corpus([[str(path) for path in paths]]).num_bytes


def text_buffers(paths: list[Path]) -> Iterator[np.ndarray]:
    """The text columns as flat uint8 arrays, batch by batch."""
    for path in paths:
        if path.suffix == ".parquet":
            batches = pq.ParquetFile(path).iter_batches(columns=["text"])
            columns = (batch.column(0) for batch in batches)
        else:
            with zstandard.open(path, "rb") as file:
                table = pj.read_json(io.BytesIO(file.read()), pj.ReadOptions(block_size=8 << 20))
            columns = iter(table["text"].chunks)
        for column in columns:
            column = column.cast(pa.large_string())
            first, last = np.frombuffer(column.buffers()[1], np.int64)[[column.offset, column.offset + len(column)]]
            yield np.frombuffer(column.buffers()[2], np.uint8)[first:last]


def pyarrow_pass(paths: list[Path]) -> int:
    """Text concatenated into rows of `POSITIONS` bytes: no shuffle, no patches, no document borders."""
    rest = np.empty(0, np.uint8)
    packed = 0
    for buffer in text_buffers(paths):
        joined = np.concatenate([rest, buffer])
        whole = len(joined) // POSITIONS * POSITIONS
        rows = joined[:whole].reshape(-1, POSITIONS).copy()
        packed += rows.size
        rest = joined[whole:]
    return packed + len(rest)


def decompress_pass(blobs: list[bytes]) -> int:
    """Zstandard decompression alone, streamed."""
    decompressor = zstandard.ZstdDecompressor()
    return sum(len(chunk) for blob in blobs for chunk in decompressor.read_to_iter(blob, write_size=1 << 20))


def best(run: Callable[[], int], repeat: int) -> tuple[float, int]:
    """Seconds of the quickest of `repeat` runs, and the bytes it gave."""
    runs = []
    for _ in range(repeat):
        began = time.perf_counter()
        count = run()
        runs.append((time.perf_counter() - began, count))
    return min(runs)


def measure(kind: str, paths: list[Path], repeat: int) -> list[dict[str, object]]:
    """The rows of the table for one kind of input."""
    corpus = Corpus([[str(path) for path in paths]])
    documents = b"".join(corpus.documents("all"))
    if kind == "jsonl.zst":
        blobs = [path.read_bytes() for path in paths]
    else:
        blobs = [zstandard.compress(documents, 3)]
    del documents
    runs: dict[str, Callable[[], int]] = {
        "zstd decompression alone": lambda: decompress_pass(blobs),
        "pyarrow + NumPy rows": lambda: pyarrow_pass(paths),
        "neat: documents": lambda: documents_pass(corpus),
        "neat: WindowStream": lambda: stream_pass(corpus),
    }
    if kind != "parquet":  # of Parquet only the footer is read
        runs["neat: open (scan)"] = lambda: scan_pass(paths)
    yardstick = 0.0
    table = []
    for name, run in runs.items():
        seconds, count = best(run, repeat)
        rate = count / seconds / 1e6
        yardstick = yardstick or rate
        table.append(
            {
                "input": kind,
                "path": name,
                "MB": count / 1e6,
                "s": seconds,
                "MB/s": rate,
                "/zstd": rate / yardstick,
            }
        )
    return table


def main() -> None:
    """Measures, prints the table and, if asked, writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with *.parquet and *.jsonl.zst files that have a text column")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    parquet = sorted(path for path in arguments.folder.glob("*.parquet") if "text" in pq.read_schema(path).names)
    inputs = {
        "parquet": [path for path in parquet if pq.read_metadata(path).num_rows > 2000],
        "jsonl.zst": sorted(arguments.folder.glob("*.train.jsonl.zst")),
    }
    table = []
    print(
        f"{describe('pyarrow', 'numpy', 'zstandard')}\n{'input':<10} {'path':<26} {'MB':>8} {'MB/s':>8} {'/ zstd':>7}"
    )
    for kind, paths in inputs.items():
        if not paths:
            sys.exit(f"no {kind} files in {arguments.folder}")
        for row in measure(kind, paths, arguments.repeat):
            table.append(row)
            name = f"{row['input']:<10} {row['path']:<26}"
            print(f"{name} {row['MB']:>8.1f} {row['MB/s']:>8.0f} {row['/zstd']:>7.2f}")
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": describe("pyarrow", "numpy", "zstandard"), "results": table}, indent=2)
        )


if __name__ == "__main__":
    main()
