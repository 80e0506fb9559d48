"""Windows of a text that is read on symbol by symbol: those that a document has which is read whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import prefix
from support.text import RULES, ngram, patcher, prose

from neat._native import CrossFit, Document, Preparer, Reader
from neat.errors import DataError
from neat.model.text.document import symbols
from neat.model.text.reading import Window, begin, go_on

CODES = 4
IMAGES = st.lists(st.integers(0, 8), min_size=CODES, max_size=CODES)
TEXTS = st.one_of(st.binary(max_size=12), st.integers(0, 9).map(lambda seed: prose(seed, 4)))


@pytest.mark.parametrize("rule", RULES)
@given(data=st.data(), positions=st.integers(CODES + 1, 30), patches=st.integers(CODES + 2, 14))
@settings(max_examples=25, deadline=None)
def test_the_window_is_the_last_span_of_what_was_read(
    rule: str, data: st.DataObject, positions: int, patches: int
) -> None:
    preparer = Preparer(CrossFit.single(ngram()), patcher(rule), image_codes=CODES, num_codes=9)
    parts = [part for _ in range(data.draw(st.integers(1, 4))) for part in (data.draw(TEXTS), data.draw(IMAGES))]
    read = symbols(Document([*parts, data.draw(TEXTS)]))
    window = Window(positions, patches - 1)
    progress, at = begin(Reader(preparer), window), 0
    while at < len(read):
        step = data.draw(st.sampled_from([1, 1, 1, 2, 5, 19]))
        progress, at = go_on(progress, read[at : at + step], window).progress, min(at + step, len(read))
        start, _, _ = preparer.spans(prefix(read[:at]), positions, patches, positions // 2)[-1]
        assert progress.first == (start == 0)
        assert progress.text == read[max(0, start - 1) : at]


def test_a_window_too_small_for_an_image_is_an_error() -> None:
    preparer = Preparer(CrossFit.single(ngram()), patcher("space"), image_codes=CODES, num_codes=9)
    window = Window(CODES, 20)
    with pytest.raises(DataError, match="does not fit rows of 4 positions"):
        go_on(begin(Reader(preparer), window), symbols(Document([b"a", [0] * CODES])), window)
