"""Documents read in pieces against the same documents prepared whole."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.text import MAX_PATCH, RULES, ngram, patcher, prose

from neat._native import CrossFit, Patcher, Preparer, Reader
from neat.errors import DataError

Arrays = dict[str, np.ndarray[Any, Any]]

PREPARERS = {rule: Preparer(CrossFit.single(ngram()), patcher(rule), [1, 3, 64], 512, True) for rule in RULES}
TEXTS = st.one_of(st.binary(max_size=150), st.integers(0, 50).map(lambda seed: prose(seed, 25)))


def whole(preparer: Preparer, document: bytes, start: int = 0) -> Arrays:
    """One row of all positions from `start` on."""
    num = len(document) + 1 - start
    windows = preparer.windows([document], [(0, start, len(document) + 1, start)], num, num + 1)
    return {name: values[0] for name, values in windows.items()}


def in_pieces(reader: Reader, pieces: list[bytes]) -> tuple[Arrays, Reader]:
    """The same per position, with slots counted from the beginning again."""
    found: dict[str, list[Any]] = {name: [] for name in ("ids", "patch", "read", "hashes", "features", "closes")}
    before = 0
    for piece in pieces:
        arrays, (reader,) = Reader.read([reader], [piece])
        ids, read = arrays["ids"][0], arrays["read"][0]
        assert (arrays["document"] == 0).all()
        closed = int(read[-1]) if len(read) else 0
        assert arrays["patch_document"][0].tolist() == [0] * closed + [-1]
        for name in ("ids", "hashes", "features"):
            found[name].extend(arrays[name][0])
        found["patch"].extend(arrays["patch"][0] + before)
        # A whole row names the slot of the closed patch, a stream counts closed ones.
        found["read"].extend(read + before - 1)
        for slot in range(closed):
            members = np.flatnonzero(arrays["patch"][0] == slot)
            assert arrays["patch_first"][0, slot] == members[0] and arrays["patch_last"][0, slot] == members[-1]
            assert arrays["patch_length"][0, slot] == len(members)
        assert len(ids) == len(read)
        before += closed
    return {name: np.array(values) for name, values in found.items() if name != "closes"}, reader


def pieces_of(text: bytes, cuts: list[int]) -> list[bytes]:
    """The text cut at the given places."""
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[start:stop] for start, stop in pairwise(places)]


@pytest.mark.parametrize("rule", RULES)
@given(text=TEXTS, cuts=st.lists(st.integers(0, 150), max_size=8), saved=st.booleans())
@settings(max_examples=60, deadline=None)
def test_pieces_equal_the_whole(rule: str, text: bytes, cuts: list[int], saved: bool) -> None:
    preparer = PREPARERS[rule]
    pieces = pieces_of(text, cuts)
    found, reader = in_pieces(Reader(preparer), pieces[:1])
    if saved:
        reader = Reader(preparer, reader.state())
    if pieces[1:]:
        offset = int(found["read"][-1]) + 1
        more, _ = in_pieces(reader, pieces[1:])
        more["patch"], more["read"] = more["patch"] + offset, more["read"] + offset
        found = {name: np.concatenate((found[name], more[name])) if len(more[name]) else found[name] for name in found}
    expected = whole(preparer, text)
    for name, values in found.items():
        assert values.dtype == expected[name].dtype or name == "features"
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.parametrize("rule", RULES)
def test_byte_by_byte_equals_the_whole(rule: str) -> None:
    text = prose(3, 40) + bytes(range(256))
    found, _ = in_pieces(Reader(PREPARERS[rule]), [text[i : i + 1] for i in range(len(text))])
    expected = whole(PREPARERS[rule], text)
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.parametrize("rule", RULES)
@given(text=TEXTS.filter(lambda text: len(text) > 2), data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_segment_within_a_document(rule: str, text: bytes, data: st.DataObject) -> None:
    """Passing over the beginning leaves what a row has that begins there."""
    start = data.draw(st.integers(1, len(text)))
    reader = Reader(PREPARERS[rule])
    for piece in pieces_of(text[: start - 1], data.draw(st.lists(st.integers(0, 99), max_size=2))):
        reader = reader.skip(piece)
    found, _ = in_pieces(reader, pieces_of(text[start - 1 :], data.draw(st.lists(st.integers(0, 99), max_size=2))))
    expected = whole(PREPARERS[rule], text, start)
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.parametrize("rule", RULES)
@given(text=TEXTS, positions=st.integers(1, 40), patches=st.integers(1, 9), first=st.integers(0, 30))
@settings(max_examples=40, deadline=None)
def test_what_fits_a_row(rule: str, text: bytes, positions: int, patches: int, first: int) -> None:
    """As many bytes as leave the patches and positions of the segment within bounds, and not one more."""
    reader = Reader(PREPARERS[rule])
    if first:
        _, (reader,) = Reader.read([reader], [text[:first]])
        text = text[first:]
    fitting = reader.fit(text, positions, patches)

    def fits(length: int) -> bool:
        _, (after,) = Reader.read([reader], [text[:length]])
        return after.num_positions <= positions and after.num_patches <= patches

    assert fitting == 0 or fits(fitting)
    assert fitting == len(text) or not fits(fitting + 1)


def test_rows_of_different_lengths_are_padded() -> None:
    preparer = PREPARERS["space"]
    arrays, _ = Reader.read([Reader(preparer)] * 3, [b"ab cd", b"", b"x y z w"])
    assert arrays["ids"].tolist()[1] == [256] + [258] * 7
    assert arrays["document"].tolist()[1] == [0] + [-1] * 7
    slots = arrays["patch_document"].shape[1]
    assert slots == max(int(read[:n].max()) for read, n in zip(arrays["read"], (6, 1, 8), strict=True)) + 1
    assert (arrays["patch"][1, 1:] == slots - 1).all()
    assert (arrays["patch_document"][:, -1] == -1).all()


def test_reading_changes_no_reader() -> None:
    reader = Reader(PREPARERS["global"])
    before = reader.state()
    first, (after,) = Reader.read([reader], [b"the river"])
    again, _ = Reader.read([reader], [b"the river"])
    assert reader.state() == before != after.state()
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])


def test_a_reader_stays_small() -> None:
    reader = Reader(PREPARERS["global"])
    sizes = []
    for _ in range(20):
        _, (reader,) = Reader.read([reader], [bytes([200]) * 1000])
        sizes.append(len(reader.state()))
    assert max(sizes) < 1000


@pytest.mark.parametrize(
    ("state", "what"),
    [
        ("", "not the state of a reader"),
        ('{"preparer": "x"}', "not the state of a reader"),
        (Reader(PREPARERS["space"]).state(), "another patcher"),
        (Reader(PREPARERS["global"]).state().replace('"seen":0', '"seen":9'), "damaged|last bytes are missing"),
    ],
)
def test_foreign_and_damaged_states_are_refused(state: str, what: str) -> None:
    with pytest.raises(DataError, match=what):
        Reader(PREPARERS["global"], state)


def test_the_state_of_another_ngram_model_is_refused() -> None:
    other = Preparer(None, Patcher("space", max_length=MAX_PATCH), [1], 512, False)
    with pytest.raises(DataError, match="another patcher, n-gram model"):
        Reader(PREPARERS["space"], Reader(other).state())


def test_every_reader_gets_one_text() -> None:
    reader = Reader(PREPARERS["space"])
    for readers, texts in (([], []), ([reader], []), ([reader], [b"", b""])):
        with pytest.raises(DataError, match="readers cannot read"):
            Reader.read(readers, texts)
