"""Reading and writing text with images: each symbol is the one that training would score, in the grammar's order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.images import CODES, GRID, predicted, prefix, vision
from support.networks import network, scattered
from support.text import patcher

from neat import _native
from neat._native import Document
from neat.config.schema import Network
from neat.errors import UsageError
from neat.model.cache import leaves
from neat.model.images.grammar import Image
from neat.model.images.interleaved import write_interleaved
from neat.model.text.document import symbols
from neat.model.text.model import TextModel
from neat.model.text.state import State
from neat.model.vocabulary import BOI, EOI, FIRST_CODE, IMAGE_BEGINS

SHAPE = network(ngram_features=False)
STREAMED = network(ngram_features=False, window=6, local_window=7, encoder_mixer="attention")
READ = {"in windows": SHAPE, "on and on": STREAMED}
LONG = Document([b"the ", [0, 1, 2, 3], b" tide ", [4, 4, 1, 0], [2, 2, 2, 2], b"and so on", [3, 0, 1, 1], b"x"])
PROMPT = Document([b"the ", [0, 1, 2, 3], b" tide"])


def model(
    rule: str = "space", window: int = 48, wants: float = 0.0, shape: Network = SHAPE, **changes: object
) -> TextModel:
    """A model of random weights; `wants` makes the beginning of an image more likely everywhere."""
    net = scattered(shape, vision=vision(**changes))
    with torch.no_grad():
        net.head.weight[IMAGE_BEGINS] += (
            wants
            * net.head.weight[:IMAGE_BEGINS].std()
            * torch.randn(net.head.in_features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        )
    preparer = _native.Preparer(
        None, patcher(rule), list(shape.hash_orders), shape.hash_rows, False, GRID * GRID, CODES
    )  # fmt: skip
    return TextModel(net, preparer, window=window, patch_slots=window + 1)


def next_logits(state: State, row: int = 0) -> torch.Tensor:
    """Of whatever follows a text: a byte, the beginning of an image, or a code."""
    return (state.logits if state.open_image(row) is None else state.code_logits())[row]


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Logits are kept in float32."""
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", ["space", "stride", "byte"])
@pytest.mark.parametrize("shape", READ)
def test_after_each_symbol_the_prediction_is_that_of_one_pass(shape: str, rule: str) -> None:
    """In text and within images, of documents that fit the window and of longer ones, three at their own pace."""
    text = model(rule, window=14, shape=READ[shape])
    documents = [symbols(LONG), symbols(Document([[1, 1, 2, 0], b"lantern"])), b"the river and the tide"]
    state, at = text.new_state(3), [0, 0, 0]
    for turn in range(max(map(len, documents))):
        steps = [1, 2 if turn % 3 else 0, turn % 2]
        state.read([document[place : place + step] for document, place, step in zip(documents, at, steps, strict=True)])
        at = [min(place + step, len(d)) for d, place, step in zip(documents, at, steps, strict=True)]
        for row, (document, place) in enumerate(zip(documents, at, strict=True)):
            # All codes are there: the end of an image is nobody's choice.
            if len(state.open_image(row) or ()) < GRID * GRID:
                assert_close(next_logits(state, row), predicted(text, prefix(document[:place])))


@pytest.mark.parametrize("shape", READ)
def test_greedy_writing_is_the_argmax_path_of_one_pass(shape: str) -> None:
    """Bytes, beginnings of images and codes, across several windows."""
    text = model(window=14, wants=6.0, shape=READ[shape], min_gap=2, max_images=3)
    pieces = list(write_interleaved(text, PROMPT, max_bytes=20, temperature=0.0))
    written = [part for piece in pieces for part in ([piece] if isinstance(piece, bytes) else [list(piece.codes)])]
    images = [piece for piece in pieces if isinstance(piece, Image)]
    assert len(images) == 3 and sum(len(piece) for piece in pieces if isinstance(piece, bytes)) == 20
    before = list(symbols(PROMPT))
    drawn, gap = 0, 2
    for symbol in symbols(Document(written)):
        logits = predicted(text, prefix(before)) if symbol != EOI else None
        if logits is not None and len(logits) > IMAGE_BEGINS and (gap < 2 or drawn == 3):
            logits = logits[:IMAGE_BEGINS]
        if logits is not None:
            assert symbol == (int(logits.argmax()) + FIRST_CODE if len(logits) == CODES else _symbol(logits))
        gap, drawn = (0, drawn + 1) if symbol == EOI else (gap + (symbol < IMAGE_BEGINS), drawn)
        before.append(symbol)


def _symbol(logits: torch.Tensor) -> int:
    chosen = int(logits.argmax())
    return BOI if chosen == IMAGE_BEGINS else chosen


@pytest.mark.parametrize("shape", READ)
@pytest.mark.parametrize("place", [2, 5, 7, 9, 10, 18, 25])
def test_a_state_is_saved_and_forked_wherever_it_stands(shape: str, place: int, tmp_path: Path) -> None:
    """Also before the first code of an image, between two and after the last."""
    text = model(window=14, shape=READ[shape])
    read = symbols(LONG)
    state = text.new_state()
    state.read([read[:place]])
    before = {name: leaf.clone() for name, leaf in leaves(state.cache)}
    state.save(tmp_path / "state")
    loaded, (fork, other) = text.load_state(tmp_path / "state", rows=1), (state.fork(), state.fork(2))
    assert loaded.open_image() == fork.open_image() == state.open_image()
    other.read([read[place : place + 1], b""])
    for each in (loaded, fork):
        each.read([read[place:]])
    assert all(torch.equal(leaf, before[name]) for name, leaf in leaves(state.cache))
    state.read([read[place:]])
    assert torch.equal(loaded.logits, state.logits) and torch.equal(fork.logits, state.logits)
    assert_close(next_logits(state), predicted(text, LONG))


@pytest.mark.parametrize("shape", READ)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_writing_interrupted_goes_on_as_if_it_had_not_been(shape: str, temperature: float, tmp_path: Path) -> None:
    """The limits of the grammar go on, too."""
    text = model(window=14, wants=20.0, shape=READ[shape], min_gap=3, max_images=2)
    options: dict[str, Any] = {"temperature": temperature, "top_p": 1.0}

    def joined(*parts: list[bytes | Image]) -> list[Any]:
        made: list[Any] = []
        for piece in [piece for part in parts for piece in part]:
            made += list(piece) if isinstance(piece, bytes) else [piece]
        return made

    straight = list(write_interleaved(text, b"a", max_bytes=24, seed=4, **options))
    assert sum(isinstance(piece, Image) for piece in straight) == 2
    for first in (1, 4, 10):
        state = text.new_state()
        beginning = list(write_interleaved(text, b"a", max_bytes=first, seed=4, state=state, **options))
        state.save(tmp_path / "state")
        state = text.load_state(tmp_path / "state")
        rest = list(write_interleaved(text, max_bytes=24 - first, state=state, **options))
        assert joined(beginning, rest) == joined(straight)


def test_an_image_that_has_begun_is_completed() -> None:
    text = model(wants=6.0)
    state = text.new_state()
    state.read([Document([b"a ", [3, 1]], open=True)])
    with pytest.raises(UsageError, match="ends within an image"):
        list(text.generate(state=state.fork()))
    one = list(write_interleaved(text, max_bytes=3, temperature=0.0, state=state.fork()))
    other = list(write_interleaved(text, Document([b"a ", [3, 1]], open=True), max_bytes=3, temperature=0.0))
    assert isinstance(one[0], Image) and one[0].codes[:2] == (3, 1) and len(one[0].codes) == GRID * GRID
    assert one == other


def test_documents_with_images_are_scored_as_they_are_read() -> None:
    """On and on, in pieces of any size: what one pass over the whole document says."""
    short = Document([[1, 1, 2, 0], b"lantern"])
    documents = [LONG, b"the river and so on and on", short, b"", Document([b"ab", [0] * 4])]
    nats = 0.0
    for size in (8, 64):
        text = model(window=size, shape=STREAMED)
        for document, found in zip(documents, text.log_probs(documents), strict=True):
            assert found.shape == (len(document), IMAGE_BEGINS + 1)
            read = symbols(document)
            for place, symbol in enumerate(read):
                if symbol < IMAGE_BEGINS or symbol == BOI:
                    expected = torch.log_softmax(predicted(text, prefix(read[:place])).double(), dim=-1)
                    assert_close(found[place].double(), expected)
                    nats -= float(expected[min(symbol, IMAGE_BEGINS)]) * (size == 8)
    score = model(window=8, shape=STREAMED).score(documents)
    assert score.bits == pytest.approx(nats / 0.6931471805599453, rel=1e-6)
    assert score.num_bytes == sum(len(d) - 6 * (len(getattr(d, "images", ()))) for d in documents)


def test_pieces_follow_the_grammar_and_its_limits() -> None:
    text = model(wants=6.0, max_images=2, min_gap=3)
    pieces = list(write_interleaved(text, PROMPT, max_bytes=12, temperature=1.0, top_p=1.0, seed=3))
    images = [piece for piece in pieces if isinstance(piece, Image)]
    assert len(images) == 2
    assert all(len(image.codes) == GRID * GRID and max(image.codes) < CODES for image in images)
    assert sum(len(piece) for piece in pieces if isinstance(piece, bytes)) == 12
    first, second = (index for index, piece in enumerate(pieces) if isinstance(piece, Image))
    assert sum(len(piece) for piece in pieces[first + 1 : second] if isinstance(piece, bytes)) >= 3


def test_the_same_seed_writes_the_same() -> None:
    text = model(wants=6.0, min_gap=0)
    texts = [list(write_interleaved(text, b"a", max_bytes=6, seed=seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_a_stop_text_ends_the_result() -> None:
    text = model(max_images=0)
    plain = b"".join(piece for piece in write_interleaved(text, b"a", max_bytes=20) if isinstance(piece, bytes))
    stop = plain[8:11]
    cut = b"".join(
        piece for piece in write_interleaved(text, b"a", max_bytes=20, stop=[stop]) if isinstance(piece, bytes)
    )
    assert cut == plain[: plain.find(stop)]


def test_a_model_without_images_says_so() -> None:
    preparer = _native.Preparer(None, patcher("space"), list(SHAPE.hash_orders), SHAPE.hash_rows, False)
    plain = TextModel(scattered(SHAPE), preparer, window=48, patch_slots=49)
    with pytest.raises(UsageError, match="writes no images"):
        write_interleaved(plain, b"a")


def test_plain_generation_draws_no_image() -> None:
    text = model(wants=30.0)
    assert int(predicted(text, Document([b"a"])).argmax()) == IMAGE_BEGINS
    assert len(b"".join(text.generate(b"a", max_bytes=5, temperature=0.0))) == 5
