"""The grammar of texts with images: whatever is chosen, the result is well-formed and within the limits."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neat.config.schema import Vision
from neat.model.images.grammar import Grammar, Image
from neat.model.vocabulary import IMAGE_BEGINS


def write(grammar: Grammar, choices: list[tuple[bool, int]]) -> list[bytes | Image]:
    """A text in which each choice is an image wherever the grammar allows one, else a byte or a code."""
    pieces: list[bytes | Image] = []
    for wants_image, symbol in choices:
        if grammar.expects == "end":
            image, grammar = grammar.end()
            pieces.append(image)
        if grammar.expects == "code":
            grammar = grammar.after(symbol)
            continue
        logits = torch.zeros(257)
        logits[IMAGE_BEGINS if wants_image else symbol] = 5.0
        chosen = int(grammar.allowed(logits).argmax())
        assert chosen != IMAGE_BEGINS or wants_image
        if chosen != IMAGE_BEGINS:
            pieces.append(bytes([chosen]))
        grammar = grammar.after(chosen)
    return pieces


CHOICES = st.lists(st.tuples(st.booleans(), st.integers(0, 255)), max_size=120)


@given(CHOICES, st.sampled_from([1, 2, 4]), st.integers(0, 4), st.integers(0, 7))
@settings(max_examples=150)
def test_every_text_is_well_formed(choices: list[tuple[bool, int]], grid: int, max_images: int, min_gap: int) -> None:
    rules = Vision(grid=grid, max_images=max_images, min_gap=min_gap)
    pieces = write(Grammar.start(rules), choices)
    images = [index for index, piece in enumerate(pieces) if isinstance(piece, Image)]
    assert len(images) <= max_images
    assert all(len(piece.codes) == grid * grid for piece in pieces if isinstance(piece, Image))
    # Every other piece is one byte, so places are distances.
    assert all(later - earlier > min_gap for earlier, later in pairwise(images))


def test_an_image_begins_as_soon_as_it_may() -> None:
    """The property above would hold for a grammar that never allows an image."""
    always = [(True, 7)] * 60
    pieces = write(Grammar.start(Vision(grid=2, max_images=3, min_gap=4)), always)
    marks = "".join("#" if isinstance(piece, Image) else "." for piece in pieces)
    assert marks.startswith("#....#....#....") and marks.count("#") == 3


def test_codes_keep_their_order() -> None:
    grammar = Grammar.start(Vision(grid=2, max_images=1)).after(IMAGE_BEGINS)
    for code in (3, 300, 1, 900):
        assert grammar.expects == "code"
        grammar = grammar.after(code)
    assert grammar.expects == "end" and not grammar.may_begin
    image, after = grammar.end()
    assert image == Image((3, 300, 1, 900))
    assert (after.expects, after.images, after.gap) == ("text", 1, 0)


def test_a_place_is_not_changed_by_going_on() -> None:
    start = Grammar.start(Vision(grid=2))
    start.after(IMAGE_BEGINS).after(1)
    assert start == Grammar.start(Vision(grid=2))


def test_what_may_not_begin_has_no_probability() -> None:
    grammar = Grammar.start(Vision(max_images=0))
    logits = torch.randn(2, 257)
    ruled = grammar.allowed(logits)
    assert bool((ruled[:, 256] == -torch.inf).all()) and torch.equal(ruled[:, :256], logits[:, :256])
    assert torch.equal(Grammar.start(Vision(max_images=1)).allowed(logits), logits)


def test_symbols_of_another_kind_are_refused() -> None:
    with pytest.raises(AssertionError, match="no image may begin"):
        Grammar.start(Vision(max_images=0)).after(IMAGE_BEGINS)
    grammar = Grammar.start(Vision(grid=1)).after(IMAGE_BEGINS)
    with pytest.raises(AssertionError, match="no complete image"):
        grammar.end()
    with pytest.raises(AssertionError, match="must end"):
        grammar.after(1).after(1)
