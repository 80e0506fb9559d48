"""The bundled text is what its licence file says, and its validation part is held out."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
import zstandard

from neat.cli import main
from neat.data.bundled import bundled_files, resolve
from neat.errors import DataError

OVERLAP_BYTES = 48


def rows(name: str) -> list[dict[str, str]]:
    with Path(resolve(f"bundled:{name}")).open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        return [json.loads(line) for line in io.TextIOWrapper(stream, encoding="utf-8")]


def test_rows_carry_their_source_and_licence() -> None:
    licences = (Path(resolve("bundled:prose.train.jsonl.zst")).parent / "LICENSES.md").read_text()
    train, valid = rows("prose.train.jsonl.zst"), rows("prose.valid.jsonl.zst")
    for row in train + valid:
        assert set(row) == {"id", "text", "source", "license"}
        assert f"`{row['source']}`" in licences
    for part in (train, valid):
        assert f"{sum(len(row['text'].encode()) for row in part):,} bytes" in licences
    assert f"{len(train)} whole documents" in licences
    sizes = dict.fromkeys(("jane-austen", "pepys-diary", "state-of-the-union"), 0)
    for row in train:
        sizes[row["source"]] += len(row["text"].encode())
    assert all(950_000 < size <= 1_000_000 for size in sizes.values())


def test_held_out_text_is_not_in_the_training_text() -> None:
    texts = [row["text"].encode() for row in rows("prose.train.jsonl.zst")]
    seen = {raw[at : at + OVERLAP_BYTES] for raw in texts for at in range(len(raw) - OVERLAP_BYTES + 1)}
    for row in rows("prose.valid.jsonl.zst"):
        raw = row["text"].encode()
        assert len(raw) <= 16_384
        positions = len(raw) - OVERLAP_BYTES + 1
        shared = sum(raw[at : at + OVERLAP_BYTES] in seen for at in range(positions))
        assert shared <= 0.01 * positions


def test_the_lakes_are_what_the_command_in_the_licence_file_writes(tmp_path: Path) -> None:
    licences = (Path(resolve("bundled:lake.train.jsonl.gz")).parent / "LICENSES.md").read_text()
    made = [line.split() for line in licences.splitlines() if line.strip().startswith("neat data world")]
    assert len(made) == 2
    for words in made:
        name = words[-1]
        assert main([*words[1:-1], str(tmp_path / name)]) == 0
        assert gzip.decompress((tmp_path / name).read_bytes()) == gzip.decompress(
            Path(resolve(f"bundled:{name}")).read_bytes()
        )


def test_names_lead_nowhere_else() -> None:
    assert resolve("some/path") == "some/path"
    prose, lakes = ("prose.train.jsonl.zst", "prose.valid.jsonl.zst"), ("lake.train.jsonl.gz", "lake.valid.jsonl.gz")
    assert set(bundled_files()) == {*prose, *lakes}
    for name in ("", "../bundled.py", "/etc/passwd", "LICENSES.md"):
        with pytest.raises(DataError):
            resolve(f"bundled:{name}")
