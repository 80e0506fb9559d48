"""Corpus and inspect: what is read from files equals what Python reads, and nothing bad is hidden."""

import json
import os
import signal
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from corpus_files import gzip_members, jsonl_bytes, write_parquet, zstd_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from neat._native import Corpus, inspect
from neat.errors import DataError

TEXTS = ["plain", 'é\n\t"\\ \u2028', None, "", "😀" * 50, "x" * 5000, "last"]
DOCUMENTS = [text.encode() for text in TEXTS if text]
REAL_DATA = Path(__file__).parents[3] / "shared" / "data"


def read(path: Path | str, **options: object) -> list[bytes]:
    return list(Corpus([[str(path)]], **options).documents("all"))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


COMPRESSIONS = {
    "plain": lambda data: data,
    "gzip": gzip_members,
    "gzip of 3 members": lambda data: gzip_members(data, 3),
    "zstd": zstd_frames,
    "zstd of 3 frames": lambda data: zstd_frames(data, 3),
    "zstd with a long window": lambda data: zstd_frames(data, 1, window_log=30),
    "zstd after a skippable frame": lambda data: b"\x5a\x2a\x4d\x18\x04\0\0\0abcd" + zstd_frames(data),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_json_lines_in_every_compression_under_a_name_that_says_nothing(tmp_path: Path, compression: str) -> None:
    path = write(tmp_path / "data.bin", COMPRESSIONS[compression](jsonl_bytes(TEXTS)))
    assert read(path) == DOCUMENTS
    corpus = Corpus([[str(path)]])
    entry = json.loads(corpus.manifest())["sources"][0][0]
    assert (entry["format"], entry["compression"]) == (
        "jsonl",
        compression.split()[0].replace("plain", "none"),
    )
    assert entry["rows"] == len(TEXTS)
    assert (corpus.num_documents, corpus.num_bytes) == (len(DOCUMENTS), sum(map(len, DOCUMENTS)))


@given(st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8")))).filter(any))
@settings(max_examples=60, deadline=None)
def test_json_lines_equal_python(tmp_path_factory: pytest.TempPathFactory, texts: list[str | None]) -> None:
    path = write(tmp_path_factory.mktemp("any") / "x", jsonl_bytes(texts))
    assert read(path) == [text.encode() for text in texts if text]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
def test_parquet_text_types(tmp_path: Path, kind: pa.DataType, compression: str) -> None:
    path = write_parquet(tmp_path / "x", TEXTS * 4, kind=kind, compression=compression)
    assert read(path) == DOCUMENTS * 4


@pytest.mark.parametrize(
    "options",
    [
        {"use_dictionary": False},
        {"data_page_version": "2.0", "data_page_size": 64},
        {"column_encoding": {"text": "DELTA_BYTE_ARRAY"}, "use_dictionary": False},
        {"column_encoding": {"text": "DELTA_LENGTH_BYTE_ARRAY"}, "use_dictionary": False},
        {"write_page_checksum": True},
        {"row_group_size": 1},
    ],
    ids=str,
)
def test_parquet_encodings(tmp_path: Path, options: dict[str, object]) -> None:
    assert read(write_parquet(tmp_path / "x", TEXTS * 4, **options)) == DOCUMENTS * 4


@given(st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8")))).filter(any), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_parquet_equals_pyarrow(tmp_path_factory: pytest.TempPathFactory, texts: list[str | None], group: int) -> None:
    path = write_parquet(tmp_path_factory.mktemp("any") / "x", texts, row_group_size=group)
    column = pq.read_table(path)["text"].to_pylist()
    assert read(path) == [text.encode() for text in column if text]


@pytest.mark.parametrize("compression", ["plain", "gzip", "zstd"])
def test_plain_text_in_pieces(tmp_path: Path, compression: str) -> None:
    text = "".join(f"line {number} é\n" for number in range(30_000)) + "x" * 200_000 + "€" * 50_000
    path = write(tmp_path / "x.txt", COMPRESSIONS[compression](text.encode()))
    pieces = read(path)
    assert b"".join(pieces) == text.encode()
    assert max(map(len, pieces)) <= 1 << 16
    assert all(piece.decode() for piece in pieces)
    assert pieces[0].endswith(b"\n")


def test_folders_globs_and_sources(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    write(tmp_path / "a.jsonl", jsonl_bytes(["1"]))
    write(tmp_path / "b" / "c.jsonl", jsonl_bytes(["2"]))
    write(tmp_path / "d.txt", b"3")
    assert read(tmp_path) == [b"1", b"2", b"3"]
    assert read(f"{tmp_path}/**/*.jsonl") == [b"1", b"2"]
    corpus = Corpus([[f"{tmp_path}/d.txt"], [f"{tmp_path}/b", f"{tmp_path}/a.jsonl"]])
    assert list(corpus.documents()) == [b"3", b"2", b"1"]


def test_digest_follows_content_not_place(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, jsonl_bytes(texts)) for name, texts in [("a", TEXTS), ("b", TEXTS), ("c", ["z"])]]
    digests = [Corpus([[str(path)]]).digest for path in paths]
    assert digests[0] == digests[1] != digests[2]
    assert Corpus([[str(path) for path in paths]]).digest != Corpus([[str(path)] for path in paths]).digest


# Errors


@pytest.mark.parametrize("pattern", ["none.jsonl", "*.jsonl", "none/**"])
def test_missing_files_are_named(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(DataError, match=r"does not exist|no file matches") as caught:
        Corpus([[f"{tmp_path}/{pattern}"]])
    assert pattern in str(caught.value) and caught.value.hint


@pytest.mark.parametrize(
    "make",
    [
        lambda path, texts: write(path, jsonl_bytes(texts, "content")),
        lambda path, texts: write_parquet(path, texts, field="content"),
    ],
    ids=["jsonl", "parquet"],
)
def test_missing_field_names_what_is_there(tmp_path: Path, make) -> None:
    path = make(tmp_path / "x", TEXTS)
    for on_bad_row in ("stop", "skip"):
        with pytest.raises(DataError, match=r"`id`.*`content`|`content`.*`id`") as caught:
            Corpus([[str(path)]], text_field="contents", on_bad_row=on_bad_row)
        assert 'text_field = "content"' in caught.value.hint


def test_parquet_column_of_numbers_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x", TEXTS)
    for field in ("id", "nested"):
        with pytest.raises(DataError, match="does not hold text"):
            Corpus([[str(path)]], text_field=field)


BAD_LINES = {
    "lone surrogate": (rb'{"text": "\ud800"}', "hex escape|surrogate"),
    "invalid UTF-8": (b'{"text": "\xff"}', "invalid UTF-8 at byte 10"),
    "missing field": (b'{"id": 7}', "no field `text`; the row has `id`"),
    "wrong type": (b'{"text": 7}', "expected a string or null"),
    "cut short": (b'{"text": "x', "EOF"),
    "not an object": (b'["text"]', "expected an object"),
    "trailing": (b'{"text": "x"} x', "trailing"),
    "deep": (b'{"a": ' + b"[" * 100_000 + b"}", "recursion|EOF|expected"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_lines_stop_or_are_counted(tmp_path: Path, name: str) -> None:
    line, reason = BAD_LINES[name]
    path = write(tmp_path / "x", jsonl_bytes(["one", "two"]) + line + b"\n" + jsonl_bytes(["three"]))
    with pytest.raises(DataError, match=reason) as caught:
        Corpus([[str(path)]])
    assert str(path) in str(caught.value) and "line 3" in str(caught.value)
    corpus = Corpus([[str(path)]], on_bad_row="skip")
    assert [list(corpus.documents()) for _ in range(2)] == [[b"one", b"two", b"three"]] * 2
    assert corpus.num_bad_rows == 1
    assert corpus.bad_rows()[0][:2] == (str(path), "line 3")


def test_first_line_bad_is_still_json(tmp_path: Path) -> None:
    path = write(tmp_path / "x", b'{"text": \n' + jsonl_bytes(["good"]))
    with pytest.raises(DataError, match="line 1"):
        Corpus([[str(path)]])


def test_bad_rows_beyond_a_hundred_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "x", jsonl_bytes(["good"]) + b"{}\n" * 2500)
    corpus = Corpus([[str(path)]], on_bad_row="skip")
    assert (corpus.num_bad_rows, len(corpus.bad_rows())) == (2500, 100)


def test_parquet_with_invalid_utf8_names_the_row(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x", [b"a"] * 9 + [b"\xff"] + [b"b"], kind=pa.binary())
    with pytest.raises(DataError, match="row 10: invalid UTF-8"):
        list(Corpus([[str(path)]]).documents())
    corpus = Corpus([[str(path)]], on_bad_row="skip")
    assert list(corpus.documents()) == [b"a"] * 9 + [b"b"]
    assert corpus.bad_rows() == [(str(path), "row 10", "invalid UTF-8 at byte 0 of the text")]


def test_long_documents_are_bad_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "x", jsonl_bytes(["short", "l" * 100]))
    corpus = Corpus([[str(path)]], on_bad_row="skip", max_document_bytes=99)
    assert list(corpus.documents()) == [b"short"]
    assert "max_document_bytes = 99" in corpus.bad_rows()[0][2]


def test_a_line_over_the_cap_is_a_bad_row(tmp_path: Path) -> None:
    long = b'{"text": "' + b"x" * (65 << 20) + b'"}\n'
    path = write(tmp_path / "x", zstd_frames(jsonl_bytes(["a"]) + long + jsonl_bytes(["b"])))
    corpus = Corpus([[str(path)]], on_bad_row="skip")
    assert list(corpus.documents()) == [b"a", b"b"]
    assert corpus.bad_rows()[0][1:] == ("line 2", "the line is longer than 64 MiB")


@pytest.mark.parametrize("data", [b"", gzip_members(b""), jsonl_bytes(["", None])])
def test_no_documents_is_an_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match="no documents") as caught:
        Corpus([[str(write(tmp_path / "x", data))]])
    assert caught.value.hint


@pytest.mark.parametrize("data", [b"PK\x03\x04\0\0data", b"\x80\x04\x95\0\0\0", b"\x89PNG\r\n\0"])
def test_binary_files_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match="neither text, JSON lines nor Parquet"):
        Corpus([[str(write(tmp_path / "x.jsonl", data))]])


@pytest.mark.parametrize("compress", [gzip_members, zstd_frames], ids=["gzip", "zstd"])
@pytest.mark.parametrize("on_bad_row", ["stop", "skip"])
def test_truncated_streams_are_errors(tmp_path: Path, compress, on_bad_row: str) -> None:
    whole = compress(jsonl_bytes([f"{number:09} {number * 7919 % 10007}" for number in range(20_000)]))
    for cut in (5, 11, len(whole) // 3, len(whole) - 9, len(whole) - 1):
        path = write(tmp_path / f"x{cut}", whole[:cut])
        with pytest.raises(DataError, match=r"truncated|damaged") as caught:
            Corpus([[str(path)]], on_bad_row=on_bad_row)
        assert str(path) in str(caught.value)


def test_truncated_parquet_is_an_error(tmp_path: Path) -> None:
    whole = write_parquet(tmp_path / "whole", TEXTS * 50).read_bytes()
    for cut in range(4, len(whole), 97):
        with pytest.raises(DataError, match="footer"):
            Corpus([[str(write(tmp_path / "cut", whole[:cut]))]])


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_parquet_never_escapes_as_a_panic(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    folder = tmp_path_factory.mktemp("any")
    damaged = bytearray(write_parquet(folder / "whole", TEXTS * 5).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(4, len(damaged) - 5))] = data.draw(st.integers(0, 255))
    path = write(folder / "damaged", bytes(damaged))
    try:
        for document in Corpus([[str(path)]], on_bad_row="skip").documents():
            assert isinstance(document, bytes)
    except DataError as error:
        assert str(path) in str(error) or "no documents" in str(error)
    json.loads(inspect(str(path), "text"))


def test_a_file_that_changed_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "x", jsonl_bytes(["one", "two", "three"]))
    corpus = Corpus([[str(path)]])
    write(path, jsonl_bytes(["one"]))
    with pytest.raises(DataError, match="not what it was"):
        list(corpus.documents())


@pytest.mark.parametrize(
    "options",
    [
        {"on_bad_row": "x"},
        {"hold_out": 1.5},
        {"weights": [1.0, 2.0]},
        {"weights": [-1.0]},
        {"shuffle_blocks": 0},
    ],
    ids=str,
)
def test_settings_out_of_range(tmp_path: Path, options: dict[str, object]) -> None:
    with pytest.raises(DataError):
        Corpus([[str(write(tmp_path / "x", b"text"))]], **options)
    with pytest.raises(DataError, match="not a part"):
        Corpus([[str(tmp_path)]]).documents("valid")


def test_a_wrong_field_is_told_from_a_bad_row_however_long_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "x", jsonl_bytes(["a"] * 3000, "txt"))
    for on_bad_row in ("stop", "skip"):
        with pytest.raises(DataError, match="no field `text`") as caught:
            Corpus([[str(path)]], on_bad_row=on_bad_row)
        assert 'text_field = "txt"' in caught.value.hint
    report = json.loads(inspect(str(path), "text"))
    assert (report["rows"], report["bad_rows"]) == (3000, 3000)


# Parts


def test_parts_follow_the_hash(tmp_path: Path) -> None:
    texts = [f"document {number}".encode() for number in range(2000)]
    lines = jsonl_bytes([text.decode() for text in texts])
    corpus = Corpus([[str(write(tmp_path / "x", lines))]], hold_out=0.2)
    share = {text: (xxhash.xxh3_64_intdigest(text) >> 11) / 2**53 for text in texts}
    assert list(corpus.documents("held_out")) == [text for text, hash_ in share.items() if hash_ < 0.2]
    assert list(corpus.documents("train")) == [text for text, hash_ in share.items() if hash_ >= 0.2]
    assert list(corpus.documents("all")) == list(share)
    assert corpus.document_hashes("all").tolist() == [xxhash.xxh3_64_intdigest(text) for text in texts]
    sample = list(corpus.documents("all", hash_below=0.1))
    assert sample == [text for text in share if (xxhash.xxh3_64_intdigest(text, seed=1) >> 11) / 2**53 < 0.1]


def test_limit_ends_with_the_document_that_reaches_it(tmp_path: Path) -> None:
    corpus = Corpus([[str(write(tmp_path / "x", jsonl_bytes(["aaaa", "bbbb", "cccc"])))]])
    assert list(corpus.documents("train", 5)) == [b"aaaa", b"bbbb"]
    assert list(corpus.documents("train", 4)) == [b"aaaa"]


# Inspection


def test_inspect_reports(tmp_path: Path) -> None:
    path = write(tmp_path / "x", gzip_members(jsonl_bytes(TEXTS) + b'{"other": 1}\n'))
    report = json.loads(inspect(str(path), "text"))
    assert (report["format"], report["compression"], report["rows"]) == ("jsonl", "gzip", len(TEXTS) + 1)
    assert (report["documents"], report["bytes"]) == (len(DOCUMENTS), sum(map(len, DOCUMENTS)))
    assert report["columns"] == ["id", "meta", "other", "text"]
    assert (report["bad_rows"], report["first_bad"]["place"], report["readable"]) == (1, "line 8", False)


@pytest.mark.parametrize("make", [lambda path: write(path, jsonl_bytes(TEXTS)),
                                  lambda path: write_parquet(path, TEXTS)])  # fmt: skip
def test_inspect_without_the_field_says_so(tmp_path: Path, make) -> None:
    path = make(tmp_path / "x")
    good = json.loads(inspect(str(path), "text"))
    assert good["readable"] and good["has_text_field"] and good["first_bad"] is None
    assert (good["rows"], good["documents"]) == (len(TEXTS), len(DOCUMENTS))
    report = json.loads(inspect(str(path), "txt"))
    assert not report["readable"] and not report["has_text_field"]
    assert report["rows"] == len(TEXTS) and "text" in report["columns"] and "`txt`" in report["first_bad"]["reason"]


def test_inspect_reports_damage_and_raises_for_no_file(tmp_path: Path) -> None:
    whole = zstd_frames(jsonl_bytes([str(number) for number in range(10_000)]))
    for data in (whole[:-5], whole[:6], b"PK\0\0", b"PAR1", b""):
        report = json.loads(inspect(str(write(tmp_path / "x", data)), "text"))
        assert report["readable"] == (data == b"")
    with pytest.raises(DataError, match="cannot read"):
        inspect(str(tmp_path / "none"), "text")


def test_a_long_scan_can_be_interrupted(tmp_path: Path) -> None:
    path = write(tmp_path / "x", zstd_frames(jsonl_bytes(["x" * 1000]) * 300_000))
    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        Corpus([[str(path)]])


@pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"no {REAL_DATA}")
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("gsm8k.train.jsonl.gz", "question"),
        ("udhr.train.jsonl.zst", "text"),
        ("dm_math.train.parquet", "question"),
    ],
)
def test_real_files_are_readable(name: str, field: str) -> None:
    path = REAL_DATA / name
    report = json.loads(inspect(str(path), field))
    assert report["readable"], report
    corpus = Corpus([[str(path)]], text_field=field)
    documents = list(corpus.documents())
    assert sum(map(len, documents)) == report["bytes"] == corpus.num_bytes
    assert len(documents) == report["documents"]
