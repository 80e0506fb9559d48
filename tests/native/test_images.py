"""Rows of documents with images, against a slow reading of what they mean."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from neat._native import Corpus, CrossFit, Document, NgramModel, Patcher, Preparer, WindowStream, inspect
from neat.errors import DataError

CODES = 4
BOOK = 9
MARK = "\ufffc"
TEXTS = [b"some words and others, some words and others ", b"and so on ", b"others"] * 5
MODEL = NgramModel.train_bytes(TEXTS, 3)
PATCHERS = {
    "global": Patcher("global", threshold=0.7, max_length=5),
    "monotonic": Patcher("monotonic", increment=0.2, max_length=5),
    "both": Patcher("both", threshold=0.5, increment=0.0, max_length=5),
    "space": Patcher("space", max_length=5),
    "stride": Patcher("stride", stride=3),
    "byte": Patcher("byte"),
}
TABLES = ([1, 3], 101)


def preparer(rule: str, *, images: bool = True) -> Preparer:
    codes = CODES if images else 0
    return Preparer(CrossFit.single(MODEL), PATCHERS[rule], *TABLES, True, image_codes=codes, num_codes=BOOK)


Parts = list[bytes | list[int]]
texts = st.text("ab, ", max_size=12).map(str.encode)
images = st.lists(st.integers(0, BOOK - 1), min_size=CODES, max_size=CODES)


@st.composite
def documents(draw: st.DrawFn, *, may_be_open: bool = True) -> tuple[Parts, bool]:
    parts: Parts = [draw(texts)]
    for _ in range(draw(st.integers(0, 3))):
        parts += [draw(images), draw(texts)]
    if may_be_open and draw(st.booleans()):
        return [*parts, draw(images)[: draw(st.integers(0, CODES))]], True
    return parts, False


Symbol = tuple[str, int, int]


def symbols(parts: Parts, is_open: bool) -> list[Symbol]:
    """(kind, value, cell) of each position."""
    found: list[Symbol] = []
    for number, part in enumerate(parts):
        if isinstance(part, bytes):
            found += [("byte", byte, -1) for byte in part]
        else:
            found.append(("begin", 0, -1))
            found += [("code", code, cell) for cell, code in enumerate(part)]
            if not (is_open and number == len(parts) - 1):
                found.append(("end", 0, -1))
    return found


def context(stream: list[Symbol], position: int) -> bytes | None:
    """The text that is read at a position: the bytes since the last image; None between its codes."""
    before = stream[:position]
    if before and before[-1][0] in ("begin", "code"):
        return None
    kinds = [kind for kind, *_ in before]
    last = max((at for at, kind in enumerate(kinds) if kind == "end"), default=-1)
    return bytes(value for _, value, _ in before[last + 1 :])


def opens(rule: str, stream: list[Symbol], position: int) -> bool:
    """Whether the symbol at a position opens a patch."""
    if position < len(stream) and stream[position][0] in ("code", "end"):
        return True
    text = context(stream, position)
    if text is None:
        return True
    plain = preparer(rule, images=False)
    # The start of a byte depends neither on what follows it nor on whether it is a byte or begins an image.
    return bool(plain.starts(text)[-1])


def expected(rule: str, stream: list[Symbol], start: int, end: int) -> dict[str, list[Any]]:
    """The arrays of one segment that fills a row of its own length."""
    plain = preparer(rule, images=False)
    row: dict[str, list[Any]] = {name: [] for name in ("ids", "targets", "patch", "read", "codes", "cell")}
    row |= {"hashes": [], "features": [], "code_targets": []}
    slot = -1
    for position in range(start, end):
        kind, value, cell = stream[position - 1] if position else ("bos", 256, -1)
        follows, target, _ = stream[position] if position < len(stream) else ("none", 0, -1)
        if position - start <= 1 or opens(rule, stream, position - 1):
            slot += 1
            row["code_targets"].append(-100)
        row["ids"].append({"begin": 259, "end": 260, "code": 261}.get(kind, value))
        row["targets"].append({"byte": target, "begin": 256}.get(follows, -100))
        row["codes"].append(value if kind == "code" else -1)
        row["cell"].append(cell)
        row["patch"].append(slot)
        row["read"].append(slot if position == start or opens(rule, stream, position) else slot - 1)
        if follows == "code":
            row["code_targets"][slot] = target
        text = context(stream, position)
        read = plain.windows([text or b""], [(0, 0, len(text or b"") + 1, 0)], 64, 65)
        row["hashes"].append(read["hashes"][0, len(text or b"")])
        row["features"].append(read["features"][0, len(text or b"")] * (text is not None))
    return row


def may_cut(stream: list[Symbol], at: int) -> bool:
    """A cut may stand anywhere but after a code, unless the image has ended there too."""
    return not stream[:at] or stream[:at][-1][0] != "code"


@given(documents(), st.sampled_from(list(PATCHERS)), st.data())
@settings(max_examples=120, deadline=None)
def test_rows_hold_what_the_symbols_say(document: tuple[Parts, bool], rule: str, data: st.DataObject) -> None:
    parts, is_open = document
    stream = symbols(parts, is_open)
    assert len(Document(parts, open=is_open)) == len(stream)
    places = [at for at in range(len(stream) + 1) if may_cut(stream, at)]
    start = data.draw(st.sampled_from(places))
    end = data.draw(st.sampled_from([at for at in [*places, len(stream) + 1] if at > start]))
    got = preparer(rule).windows([Document(parts, open=is_open)], [(0, start, end, start)], 90, 91)
    for name, values in expected(rule, stream, start, end).items():
        found = got[name][0][: len(values)]
        assert np.array_equal(found, np.array(values).reshape(found.shape)), name
    slots = got["patch"][0, end - start - 1] + 1
    assert (got["codes"][0, end - start :] == -1).all() and (got["code_targets"][0, slots:] == -100).all()
    lengths = got["patch_length"][0, :slots]
    assert lengths.sum() == end - start and (lengths > 0).all()
    assert (lengths[got["patch"][0][np.isin(got["ids"][0], (260, 261))]] == 1).all(), "codes stand alone"


@given(documents(), st.sampled_from(list(PATCHERS)), st.data())
@settings(max_examples=80, deadline=None)
def test_rows_do_not_look_ahead(document: tuple[Parts, bool], rule: str, data: st.DataObject) -> None:
    parts, is_open = document
    stream = symbols(parts, is_open)
    number = data.draw(st.integers(0, len(parts) - 1))
    kept = data.draw(st.integers(0, len(parts[number])))
    cut = [*parts[:number], parts[number][:kept]]
    prefix = symbols(cut, is_open=isinstance(parts[number], list))
    assert prefix == stream[: len(prefix)]
    rows = [
        preparer(rule).windows([Document(some, open=flag)], [(0, 0, length + 1, 0)], 90, 91)
        for some, flag, length in (
            (parts, is_open, len(stream)),
            (cut, isinstance(parts[number], list), len(prefix)),
        )
    ]
    for name in ("ids", "patch", "hashes", "features", "codes", "cell"):
        first, second = (row[name][0, : len(prefix) + 1] for row in rows)
        assert np.array_equal(first, second), name
    # Not even the beginning of an image may show before it is chosen: its place reads like that of a byte.
    known = len(prefix) + (not prefix or prefix[-1][0] in ("byte", "end"))
    assert np.array_equal(*(row["read"][0, :known] for row in rows))


@given(
    documents(), st.sampled_from(list(PATCHERS)), st.integers(5, 30), st.integers(6, 20), st.integers(0, 20), st.data()
)
@settings(max_examples=150, deadline=None)
def test_spans_cut_no_image_and_are_those_of_the_prefix(
    document: tuple[Parts, bool], rule: str, positions: int, patches: int, overlap: int, data: st.DataObject
) -> None:
    parts, is_open = document
    stream, maker = symbols(parts, is_open), preparer(rule)
    spans = maker.spans(Document(parts, open=is_open), positions, patches, overlap)
    scored = 0
    for start, end, score_from in spans:
        assert start <= score_from == scored < end and score_from - start <= overlap
        assert may_cut(stream, start) and (may_cut(stream, end) or end == len(stream) + 1)
        scored = end
    assert scored == len(stream) + 1
    batch = maker.windows([Document(parts, open=is_open)], [(0, *span) for span in spans], positions, patches)
    codes = [code for row in batch["code_targets"] for code in row[row >= 0]]
    assert codes == [value for kind, value, _ in stream if kind == "code"], "each code is scored once"
    assert (batch["targets"] >= 0).sum() == sum(kind in ("byte", "begin") for kind, *_ in stream)

    number = data.draw(st.integers(0, len(parts) - 1))
    cut = [*parts[:number], parts[number][: data.draw(st.integers(0, len(parts[number])))]]
    prefix = maker.spans(Document(cut, open=isinstance(cut[-1], list)), positions, patches, overlap)
    assert prefix[:-1] == spans[: len(prefix) - 1]
    assert prefix[-1][::2] == spans[len(prefix) - 1][::2]


def test_text_alone_is_the_same_with_and_without_images() -> None:
    spans = [(number, 0, len(text) + 1, 0) for number, text in enumerate(TEXTS)]
    with_images = preparer("global").windows(TEXTS, spans, 64, 65)
    without = preparer("global", images=False).windows(TEXTS, spans, 64, 65)
    assert set(with_images) - set(without) == {"codes", "cell", "code_targets"}
    assert all(np.array_equal(with_images[name], array) for name, array in without.items())
    assert (with_images["codes"] == -1).all() and (with_images["code_targets"] == -100).all()


def test_documents_come_apart_into_their_parts() -> None:
    document = Document([b"a", b"b", [1, 2], [3, 4], b"c"])
    assert document.parts() == [b"ab", [1, 2], [3, 4], b"c"]
    assert len(document) == 11 and document.num_bytes == 3 and not document.is_open
    assert document.images == [(2, [1, 2]), (6, [3, 4])]
    assert document == Document([b"ab", [1, 2], [3, 4], b"c"]) != Document([b"abc"])
    assert Document([[1]], open=True).is_open and len(Document([[]], open=True)) == 1
    with pytest.raises(ValueError, match="ends with an image"):
        Document([b"a"], open=True)


@pytest.mark.parametrize(
    ("parts", "is_open", "message"),
    [
        ([[1, 2, 3]], False, "image 1 has 3 codes, expected 4"),
        ([[1, 2, 3, 4, 5]], True, "image 1 has 5 codes"),
        ([[1, 2, 3, 4], [1, 2, 9, 0]], False, "image 2 has code 9, the codebook has 9"),
    ],
)
def test_images_of_another_shape_are_data_errors(parts: Parts, is_open: bool, message: str) -> None:
    document = Document(parts, open=is_open)
    with pytest.raises(DataError, match=message):
        preparer("byte").windows([document], [(0, 0, 3, 0)], 64, 65)
    with pytest.raises(DataError, match=message):
        preparer("byte").starts(document)


def test_impossible_requests_are_data_errors() -> None:
    document = Document([b"ab", [1, 2, 3, 4], b"c"])
    with pytest.raises(DataError, match="reads text only") as caught:
        preparer("byte", images=False).starts(document)
    assert "vision.on" in caught.value.hint
    for span in ((0, 5), (4, 9)):
        with pytest.raises(DataError, match=r"cuts the image at \[3, 8\)"):
            preparer("byte").windows([document], [(0, *span, 0)], 20, 21)
    with pytest.raises(DataError, match="an image of 4 codes does not fit rows of 4 positions"):
        preparer("byte").spans(document, 4, 20, 0)
    with pytest.raises(DataError, match="and 5 patches"):
        preparer("byte").spans(document, 20, 5, 0)


def write(path: Path, rows: list[tuple[str, list[list[int]] | None]]) -> str:
    lines = ({"images": found, "text": text} if found else {"text": text} for text, found in rows)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def rows_of(number: int) -> list[tuple[str, list[list[int]] | None]]:
    """Every third row has no image."""
    rng = np.random.default_rng(0)
    found: list[tuple[str, list[list[int]] | None]] = []
    for index in range(number):
        count = index % 3
        text = MARK.join(f"row {index} part {part}, " for part in range(count + 1))
        found.append((text, rng.integers(0, BOOK, (count, CODES)).tolist() or None))
    return found


def with_marks(row: tuple[str, list[list[int]] | None]) -> bytes | Document:
    text, found = row
    if not found:
        return text.encode()
    pieces = [piece.encode() for piece in text.split(MARK)]
    return Document([part for pair in itertools.zip_longest(pieces, found) for part in pair if part is not None])


def test_rows_of_a_file_are_documents_with_hashes_of_text_and_codes(tmp_path: Path) -> None:
    rows = rows_of(12)
    corpus = Corpus([[write(tmp_path / "a.jsonl", rows)]], image_codes=CODES, num_codes=BOOK)
    assert list(corpus.documents("all")) == [with_marks(row) for row in rows]
    whole = sum(len(with_marks(row)) for row in rows)
    assert corpus.num_documents == 12 and corpus.num_bytes == whole
    text, found = rows[2]
    placed = text.replace(MARK, "\0" * (CODES + 2)).encode().replace(b"\0", b"\xff")
    identity = placed + np.array(found, "<u2").tobytes()
    assert corpus.document_hashes("all")[2] == xxhash.xxh3_64_intdigest(identity)
    assert corpus.document_hashes("all")[0] == xxhash.xxh3_64_intdigest(rows[0][0].encode())
    report = json.loads(inspect(str(tmp_path / "a.jsonl")))
    assert report["readable"] and report["images"] == 12
    assert report["bytes"] == sum(len(text.replace(MARK, "").encode()) for text, _ in rows)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"text": "a", "images": [[1, 2, 3, 4]]}, "the text has 0 U.FFFC, `images` has 1"),
        ({"text": MARK * 2, "images": [[1, 2, 3, 4]]}, "the text has 2 U.FFFC"),
        ({"text": MARK, "images": [[1, 2, 3]]}, "image 1 has 3 codes, expected 4"),
        ({"text": MARK, "images": [[1, 2, 3, 9]]}, "code 9, the codebook has 9 entries"),
        ({"text": MARK, "images": [["a"]]}, "not a list of lists of codes"),
        ({"text": MARK, "images": "a.png"}, "not a list of lists of codes"),
    ],
)
def test_bad_images_name_file_and_line(tmp_path: Path, line: dict[str, object], message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good"}\n' + json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        Corpus([[str(path)]], image_codes=CODES, num_codes=BOOK)
    assert "a.jsonl" in str(caught.value) and "line 2" in str(caught.value)
    skipping = Corpus([[str(path)]], on_bad_row="skip", image_codes=CODES, num_codes=BOOK)
    assert skipping.num_bad_rows == 1 and list(skipping.documents("all")) == [b"good"]


def test_without_vision_images_are_refused_and_other_lists_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": MARK, "images": ["http://a"]}) + "\n", encoding="utf-8")
    assert list(Corpus([[str(path)]]).documents("all")) == [MARK.encode()]
    with pytest.raises(DataError, match=r"line 2.*vision\.on"):
        Corpus([[write(path, rows_of(3))]])


def test_parquet_with_images_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"], "images": [[[1, 2]]]}), path)
    assert list(Corpus([[str(path)]]).documents("all")) == [b"a"]
    with pytest.raises(DataError, match="column `images`") as caught:
        Corpus([[str(path)]], image_codes=CODES)
    assert "JSON lines" in caught.value.hint


def test_a_stream_packs_every_symbol_once_and_resumes(tmp_path: Path) -> None:
    rows = rows_of(40)
    corpus = Corpus([[write(tmp_path / "a.jsonl", rows)]], image_codes=CODES, num_codes=BOOK)
    shape = (3, 24, 20)

    def stream(state: str | None = None) -> WindowStream:
        return WindowStream(corpus, preparer("space"), lanes=4, prefetch=2, state=state)

    first = stream()
    batches, states = [], []
    while first.statistics()["epoch"] < 1:
        batches.append(first.next(*shape))
        states.append(first.state())
    again = stream(states[1])
    for batch in batches[2:5]:
        for name, array in again.next(*shape).items():
            assert np.array_equal(array, batch[name]), name

    fresh, seen = stream(), {"bytes": 0, "codes": 0, "begins": 0}
    while fresh.statistics()["documents"] < 40:
        batch = fresh.next(*shape)
        seen["begins"] += int((batch["targets"] == 256).sum())
        seen["codes"] += int((batch["code_targets"] >= 0).sum())
        begun = batch["ids"] == 259
        assert ((batch["codes"] >= 0).sum(1) == CODES * begun.sum(1)).all(), "an image lies in one row"
    images_in = sum(len(found or []) for _, found in rows)
    # The stream goes on into the next epoch before the last document of this one ends.
    assert seen["begins"] >= images_in and seen["codes"] >= images_in * CODES
    fresh.close()
    with pytest.raises(DataError, match="does not fit rows of 4 positions"):
        stream().next(2, 4, 20)
    with pytest.raises(DataError, match="the preparer does not"):
        WindowStream(corpus, preparer("space", images=False))


def test_the_ngram_model_reads_each_text_as_a_document() -> None:
    document = Document([b"abab", [1, 2, 3, 4], b"caca"])
    apart = NgramModel.train_bytes([b"abab", b"caca"], 3)
    assert NgramModel.train_bytes([document], 3).digest == apart.digest
    words = [b"abab", b"caca", b"x", b"bcbc", b"more", b"words", b"of", b"others"]
    models = CrossFit.train_bytes([document, *words], 3, 2)
    others = [words[:2]] if models.fold_of(document) == 1 else []
    others += [[word] for word in words if models.fold_of(word) == 1]
    assert {models.fold_of(some) for some in (document, *words)} == {0, 1}
    assert models.model(0).digest == NgramModel.train_bytes([text for texts in others for text in texts], 3).digest
