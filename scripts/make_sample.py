"""Makes the text bundled with the package from a larger corpus of public-domain prose.

    python scripts/make_sample.py CORPUS_DIR [--out DIR]

CORPUS_DIR holds `prose.train.jsonl.zst` and `prose.valid.jsonl.zst`, rows of `id`, `text`, `source`, `license`.
The training part is about a megabyte each of Jane Austen, Pepys' diary and State of the Union addresses, in whole
documents chosen by the hash of their id; the validation part is the beginning of each held-out document. A
training document that shares more than 1 % of a held-out document's 48-byte strings is passed over, and the
choice is checked as a whole before anything is written. The same corpus gives the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from collections.abc import Iterable
from pathlib import Path

import zstandard

SOURCES = ("jane-austen", "pepys-diary", "state-of-the-union")
BYTES_PER_SOURCE = 1_000_000
HELD_OUT_BYTES = 16_000
OVERLAP_BYTES = 48
MAX_OVERLAP = 0.01
FIELDS = ("id", "text", "source", "license")
LEVEL = 19

Row = dict[str, str]


def main() -> None:
    """Reads, chooses, checks, writes, and prints what was written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, metavar="CORPUS_DIR")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "python/neat/data/sample")
    arguments = parser.parse_args()

    held_out = [beginning(row) for row in read_rows(arguments.corpus / "prose.valid.jsonl.zst")]
    training = choose(read_rows(arguments.corpus / "prose.train.jsonl.zst"), held_out)
    worst = max(overlap(row, strings_of(training)) for row in held_out)
    if worst > MAX_OVERLAP:
        raise SystemExit(f"a held-out document shares {worst:.2%} of its {OVERLAP_BYTES}-byte strings with training")
    for name, rows in (("prose.train", training), ("prose.valid", held_out)):
        size = write_rows(arguments.out / f"{name}.jsonl.zst", rows)
        text = sum(len(row["text"].encode()) for row in rows)
        print(f"{name}.jsonl.zst: {len(rows)} documents, {text} bytes of text, {size} bytes on disk")
    print(f"largest overlap: {worst:.3%}")


def read_rows(path: Path) -> list[Row]:
    """The rows of a compressed JSONL file."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        return [json.loads(line) for line in io.TextIOWrapper(stream, encoding="utf-8")]


def beginning(row: Row) -> Row:
    """A held-out document cut to its first whole words of at most `HELD_OUT_BYTES` bytes."""
    raw = row["text"].encode()
    if len(raw) > HELD_OUT_BYTES:
        raw = raw[: max(raw.rfind(space, 0, HELD_OUT_BYTES) for space in (b" ", b"\n"))]
    return row | {"text": raw.decode()}


def choose(candidates: Iterable[Row], held_out: list[Row]) -> list[Row]:
    """Whole documents of each source, up to `BYTES_PER_SOURCE`, in the order of the hash of their id."""
    held_out_strings = [strings_of([row]) for row in held_out]
    ordered = sorted(candidates, key=lambda row: hashlib.sha256(row["id"].encode()).digest())
    chosen: list[Row] = []
    for source in SOURCES:
        room = BYTES_PER_SOURCE
        for row in (row for row in ordered if row["source"] == source):
            size = len(row["text"].encode())
            if size <= room and not shares_too_much(row, held_out_strings):
                chosen.append(row)
                room -= size
    return sorted(chosen, key=lambda row: hashlib.sha256(row["id"].encode()).digest())


def shares_too_much(row: Row, held_out_strings: list[frozenset[bytes]]) -> bool:
    """Whether a training document covers more than the allowed share of some held-out document."""
    own = strings_of([row])
    return any(len(own & strings) > MAX_OVERLAP * len(strings) for strings in held_out_strings)


def overlap(row: Row, strings: frozenset[bytes]) -> float:
    """Share of a document's positions whose next `OVERLAP_BYTES` bytes are in `strings`."""
    raw = row["text"].encode()
    positions = max(1, len(raw) - OVERLAP_BYTES + 1)
    return sum(raw[at : at + OVERLAP_BYTES] in strings for at in range(positions)) / positions


def strings_of(rows: Iterable[Row]) -> frozenset[bytes]:
    """All strings of `OVERLAP_BYTES` bytes in the texts."""
    texts = [row["text"].encode() for row in rows]
    return frozenset(raw[at : at + OVERLAP_BYTES] for raw in texts for at in range(len(raw) - OVERLAP_BYTES + 1))


def write_rows(path: Path, rows: list[Row]) -> int:
    """Writes compressed JSONL and returns its size in bytes."""
    lines = "".join(json.dumps({key: row[key] for key in FIELDS}, ensure_ascii=False) + "\n" for row in rows)
    packed = zstandard.ZstdCompressor(level=LEVEL, write_content_size=True, write_checksum=True).compress(
        lines.encode()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed)
    return len(packed)


if __name__ == "__main__":
    main()
