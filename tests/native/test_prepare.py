"""Rows, spans and features through the bindings."""

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neat._native import CrossFit, NgramModel, Patcher, Preparer
from neat.errors import DataError

Arrays = dict[str, np.ndarray[Any, Any]]

rng = random.Random(5)
DOCUMENTS = [" ".join(rng.choices(["some", "words", "and", "others"], k=50)).encode() for _ in range(30)]
MODEL = NgramModel.train_bytes(DOCUMENTS)
ENTROPY = Preparer(CrossFit.single(MODEL), Patcher("global", threshold=0.9), [2, 3, 4], 512, True)
SPACE = Preparer(None, Patcher("space"), [2, 5], 1000, False)

PER_POSITION = ["ids", "targets", "document", "patch", "read", "hashes", "features"]
SHAPES = {
    "ids": (np.int64, "N"),
    "targets": (np.int64, "N"),
    "document": (np.int32, "N"),
    "patch": (np.int64, "N"),
    "read": (np.int64, "N"),
    "patch_document": (np.int32, "P"),
    "patch_first": (np.int64, "P"),
    "patch_last": (np.int64, "P"),
    "patch_length": (np.int32, "P"),
}


def test_shapes_and_types() -> None:
    batch = ENTROPY.windows(DOCUMENTS, [(0, 0, 20, 0), (3, 5, 30, 10)], 32, 40)
    assert set(batch) == {*SHAPES, "hashes", "features"}
    for name, (dtype, axis) in SHAPES.items():
        assert batch[name].dtype == dtype and batch[name].shape == (2, {"N": 32, "P": 40}[axis])
    assert batch["hashes"].dtype == np.int64 and batch["hashes"].shape == (2, 32, 3)
    assert batch["features"].dtype == np.float16 and batch["features"].shape == (2, 32, 256)
    assert set(SPACE.windows([b"x"], [(0, 0, 1, 0)], 4, 4)) == {*SHAPES, "hashes"}
    plain = Preparer(None, Patcher("byte"), [], 0, False)
    assert set(plain.windows([b"x"], [(0, 0, 1, 0)], 4, 4)) == set(SHAPES)


def test_a_whole_document_with_the_byte_after_it() -> None:
    document = b"ab cd"
    row = {name: value[0] for name, value in SPACE.windows([document], [(0, 0, 6, 0)], 8, 8).items()}
    assert row["ids"].tolist() == [256, *document, 258, 258]
    assert row["targets"].tolist() == [*document, -100, -100, -100]
    assert row["document"].tolist() == [0] * 6 + [-1] * 2
    # starts: byte 0, and byte 3 after the space; positions 0 and 1 open patches of their own
    assert row["patch"].tolist() == [0, 1, 1, 1, 2, 2, 7, 7]
    assert row["read"].tolist() == [0, 0, 0, 1, 1, 1, 7, 7]
    assert row["patch_length"].tolist() == [1, 3, 2, 0, 0, 0, 0, 0]
    assert row["patch_first"].tolist() == [0, 1, 4, 0, 0, 0, 0, 0]
    assert row["patch_last"].tolist() == [0, 3, 5, 0, 0, 0, 0, 0]
    assert row["patch_document"].tolist() == [0, 0, 0, -1, -1, -1, -1, -1]


def test_features_are_roots_of_the_distributions() -> None:
    document = DOCUMENTS[0]
    row = ENTROPY.windows([document], [(0, 7, 40, 20)], 64, 64)
    expected = np.sqrt(MODEL.distributions(document)[7:40])
    np.testing.assert_allclose(row["features"][0, :33], expected, rtol=1e-3, atol=1e-6)
    assert not row["features"][0, 33:].any()
    assert (row["targets"][0, :13] == -100).all()
    assert row["targets"][0, 13:33].tolist() == list(document[20:40])


def test_packed_segments_equal_the_same_segments_alone() -> None:
    segments = [(2, 0, 30, 0), (4, 11, 60, 20), (5, 0, 1, 0), (6, 3, 5, 3)]
    packed = ENTROPY.packed(DOCUMENTS, [segments], 120, 120)
    at = 0
    for number, segment in enumerate(segments):
        alone = ENTROPY.windows(DOCUMENTS, [segment], 120, 120)
        length = segment[2] - segment[1]
        first = packed["patch"][0, at]
        for name in PER_POSITION:
            here, there = packed[name][0, at : at + length], alone[name][0, :length]
            shift = {"patch": first, "read": first, "document": number}.get(name, 0)
            assert (here == there + np.asarray(shift, there.dtype)).all(), name
        at += length
    assert (packed["document"][0, at:] == -1).all()


@given(st.binary(max_size=400), st.integers(2, 60), st.integers(2, 20), st.integers(0, 50), st.data())
@settings(max_examples=200, deadline=None)
def test_spans_cover_and_are_prefix_stable(
    document: bytes, positions: int, patches: int, overlap: int, data: st.DataObject
) -> None:
    spans = ENTROPY.spans(document, positions, patches, overlap)
    scored = 0
    for start, end, score_from in spans:
        assert start <= score_from == scored < end and score_from - start <= overlap
        assert end - start <= positions
        scored = end
    assert scored == len(document) + 1
    ENTROPY.windows([document], [(0, *span) for span in spans], positions, patches)

    prefix = document[: data.draw(st.integers(0, len(document)))]
    short = ENTROPY.spans(prefix, positions, patches, overlap)
    assert short[:-1] == spans[: len(short) - 1]
    assert short[-1][::2] == spans[len(short) - 1][::2]


@given(st.binary(max_size=200), st.data())
@settings(max_examples=100, deadline=None)
def test_rows_do_not_look_ahead(document: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(document)))
    other = document[:cut] + data.draw(st.binary(max_size=20))
    size = len(document) + 30
    rows = [ENTROPY.windows([text], [(0, 0, len(text) + 1, 0)], size, size + 1) for text in (document, other)]
    for name in ("ids", "patch", "read", "hashes", "features"):
        first, second = (row[name][0, : cut + 1] for row in rows)
        assert (first == second).all(), name


def test_starts_are_those_of_the_patcher() -> None:
    patcher = Patcher("global", threshold=0.9)
    for document in (*DOCUMENTS[:3], b"", b"?"):
        expected = patcher.starts(document, MODEL.entropies(document))
        assert (ENTROPY.starts(document) == expected).all()


def test_impossible_requests_are_data_errors() -> None:
    with pytest.raises(DataError, match="need an n-gram model"):
        Preparer(None, Patcher("global"))
    with pytest.raises(DataError, match="need an n-gram model"):
        Preparer(None, Patcher("space"), features=True)
    with pytest.raises(DataError, match="hash n-gram of 0 bytes"):
        Preparer(None, Patcher("space"), [0], 10)
    with pytest.raises(DataError, match="needs more than 4 positions"):
        SPACE.windows([b"hello"], [(0, 0, 5, 0)], 4, 9)
    with pytest.raises(DataError, match=r"no span \[0, 7\)"):
        SPACE.windows([b"hello"], [(0, 0, 7, 0)], 9, 9)
