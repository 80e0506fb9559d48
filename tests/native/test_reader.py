"""Documents read in pieces against the same documents prepared whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.text import MAX_PATCH, RULES, ngram, patcher, prose

from neat._native import CrossFit, Document, Patcher, Preparer, Reader
from neat.errors import DataError

Arrays = dict[str, np.ndarray[Any, Any]]

PREPARERS = {rule: Preparer(CrossFit.single(ngram()), patcher(rule), [1, 3, 64], 512, True) for rule in RULES}
CODES, BOOK = 4, 9
WITH_IMAGES = {
    rule: Preparer(CrossFit.single(ngram()), patcher(rule), [1, 3, 64], 512, True, image_codes=CODES, num_codes=BOOK)
    for rule in RULES
}
TEXTS = st.one_of(st.binary(max_size=150), st.integers(0, 50).map(lambda seed: prose(seed, 25)))


@st.composite
def with_images(draw: st.DrawFn, open_too: bool = True) -> Document:
    """Some text, some images, the last of which may be open."""
    texts = st.one_of(st.binary(max_size=90), st.text("ab, ", max_size=12).map(str.encode))
    images = st.lists(st.integers(0, BOOK - 1), min_size=CODES, max_size=CODES)
    parts: list[bytes | list[int]] = [draw(texts)]
    for _ in range(draw(st.integers(0, 3))):
        parts += [draw(images), draw(texts)]
    if open_too and draw(st.booleans()):
        return Document([*parts, draw(images)[: draw(st.integers(0, CODES))]], open=True)
    return Document(parts)


def whole(preparer: Preparer, document: bytes | Document, start: int = 0) -> Arrays:
    """One row of all positions from `start` on."""
    num = len(document) + 1 - start
    # An open image needs room for all its codes.
    room = num + (CODES if isinstance(document, Document) else 0)
    windows = preparer.windows([document], [(0, start, len(document) + 1, start)], room, room + 1)
    return {name: values[0][:num] for name, values in windows.items()}


def in_pieces(reader: Reader, pieces: Sequence[bytes | Sequence[int]]) -> tuple[Arrays, Reader]:
    """The same per position, with slots counted from the beginning again."""
    found: dict[str, list[Any]] = {name: [] for name in ("ids", "patch", "read", "hashes", "features", "closes")}
    images = ("codes", "cell") if "codes" in Reader.read([reader], [b"" if reader.image is None else []])[0] else ()
    found |= {name: [] for name in images}
    before = 0
    for piece in pieces:
        arrays, (reader,) = Reader.read([reader], [piece])
        ids, read = arrays["ids"][0], arrays["read"][0]
        assert (arrays["document"] == 0).all()
        closed = int(read[-1]) if len(read) else 0
        assert arrays["patch_document"][0].tolist() == [0] * closed + [-1]
        for name in ("ids", "hashes", "features", *images):
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


def pieces_of(text: Any, cuts: list[int]) -> list[Any]:
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
@given(document=with_images(), cuts=st.lists(st.integers(0, 150), max_size=8), saved=st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_pieces_with_images_equal_the_whole(rule: str, document: Document, cuts: list[int], saved: int) -> None:
    """Wherever they are cut, and whenever the reader is saved in between: every array, bit for bit."""
    preparer = WITH_IMAGES[rule]
    reader, offset, parts = Reader(preparer), 0, []
    for number, piece in enumerate(pieces_of(document.symbols(), cuts)):
        found, reader = in_pieces(reader, [piece])
        if not len(found["ids"]):
            continue
        closed = int(found["read"][-1]) + 1
        found["patch"], found["read"] = found["patch"] + offset, found["read"] + offset
        offset += closed
        parts.append(found)
        reader = Reader(preparer, reader.state()) if number == saved else reader
    expected = whole(preparer, document)
    assert {"codes", "cell", "hashes", "features"} < set(parts[0]) and reader.num_positions == len(expected["ids"])
    for name in parts[0]:
        np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), expected[name], err_msg=name)
    assert reader.image == (list(document.images[-1][1]) if document.is_open else None)


@pytest.mark.parametrize("rule", RULES)
@given(document=with_images(open_too=False), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_segment_within_a_document_with_images(rule: str, document: Document, data: st.DataObject) -> None:
    """It may begin with the end of an image, or with its beginning."""
    within = {p + 1 + i for p, _ in document.images for i in range(1, CODES + 1)}
    start = data.draw(st.sampled_from([s for s in range(1, len(document) + 1) if s not in within] or [0]))
    if start == 0:
        return
    symbols = document.symbols()
    reader = Reader(WITH_IMAGES[rule]).skip(symbols[: start - 1])
    found, _ = in_pieces(reader, pieces_of(symbols[start - 1 :], data.draw(st.lists(st.integers(0, 99), max_size=2))))
    expected = whole(WITH_IMAGES[rule], document, start)
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ([], [264], "no image has begun"),
        ([], [260], "no image has begun"),
        ([259], b"a", "has 0 so far"),
        ([259, 264], [259], "has 1 so far"),
        ([259, 264, 265], [260], "has 2 so far"),
        ([259, 264, 265, 266, 267], [264], "has 4 so far"),
        ([259], [264 + BOOK], "no code 9, the codebook has 9"),
        ([], [256], "256 is not a symbol"),
        ([], [264 + 2**16], "is not a symbol"),
    ],
)
def test_symbols_in_the_wrong_place_are_refused(before: list[int], after: list[int] | bytes, what: str) -> None:
    _, (reader,) = Reader.read([Reader(WITH_IMAGES["space"])], [[*b"ab ", *before]])
    with pytest.raises(DataError, match=what):
        Reader.read([reader], [after])


def test_images_without_a_model_that_has_them_are_refused() -> None:
    with pytest.raises(DataError, match="reads text only"):
        Reader.read([Reader(PREPARERS["space"])], [[259]])


def test_what_fits_a_row_holds_images_whole() -> None:
    reader = Reader(WITH_IMAGES["space"])
    symbols = [*b"ab", 259, 264, 265, 266, 267, 260, *b"cd"]
    fits = [reader.fit(symbols, positions, 99) for positions in range(5, 13)]
    # Three positions hold the text, five more what begins the image and its codes; its end may be a target only.
    assert fits == [2, 2, 2, 7, 8, 9, 10, 10]
    assert [reader.fit(symbols[:4], positions, 99) for positions in (7, 8)] == [2, 4]
    with pytest.raises(DataError, match="does not fit rows of 4 positions"):
        reader.fit(symbols, 4, 99)


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
