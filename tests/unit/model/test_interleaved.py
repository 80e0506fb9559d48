"""Writing text with images: each symbol is the one that training would score, in the order of the grammar."""

from __future__ import annotations

import pytest
import torch
from support.images import CODES, GRID, vision
from support.networks import network, scattered
from support.text import patcher

from neat import _native
from neat._native import Document
from neat.errors import UsageError
from neat.model.batch import Batch
from neat.model.grammar import Image
from neat.model.interleaved import predict, write_interleaved
from neat.model.text import TextModel
from neat.model.vocabulary import IMAGE_BEGINS

SHAPE = network(ngram_features=False)
PROMPT = Document([b"the ", [0, 1, 2, 3], b" tide"])


def model(rule: str = "space", window: int = 48, wants: float = 0.0, **changes: object) -> TextModel:
    """A model of random weights; `wants` makes the beginning of an image more likely everywhere."""
    net = scattered(SHAPE, vision=vision(**changes))
    with torch.no_grad():
        net.head.weight[IMAGE_BEGINS] += (
            wants
            * net.head.weight[:IMAGE_BEGINS].std()
            * torch.randn(net.head.in_features, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        )
    preparer = _native.Preparer(
        None, patcher(rule), list(SHAPE.hash_orders), SHAPE.hash_rows, False, GRID * GRID, CODES
    )  # fmt: skip
    return TextModel(net, preparer, window=window, patch_slots=window + 1)


@pytest.mark.parametrize("rule", ["space", "stride", "byte"])
def test_a_prediction_is_that_of_the_whole_document(rule: str) -> None:
    """In text and inside images, for documents that fit one row."""
    text = model(rule, window=40)
    parts: list[bytes | list[int]] = [b"the ", [0, 1, 2, 3], b" tide ", [4, 4, 1, 0], b"x"]
    length = len(Document(parts))
    arrays = text.preparer.windows([Document(parts)], [(0, 0, length + 1, 0)], 40, 41)
    batch = Batch.from_arrays(arrays)
    with torch.no_grad():
        whole = text.network.outputs(batch)
    assert whole.image_logits is not None and batch.code_targets is not None
    for cut in range(5):
        seen = predict(text, Document([b"the ", [0, 1, 2, 3], b" tide "[:cut]]))
        assert torch.allclose(seen, whole.logits[0, 10 + cut].float(), atol=1e-5)
    for cut in range(4):
        seen = predict(text, Document([b"the ", [0, 1, 2, 3], b" tide ", [4, 4, 1, 0][:cut]], open=True))
        slot = int(batch.patch[0, 10 + 6 + 1 + cut])
        assert int(batch.code_targets[0, slot]) == [4, 4, 1, 0][cut]
        assert torch.allclose(seen, whole.image_logits[0, slot].float(), atol=1e-5)


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


def test_greedy_writing_takes_the_likeliest_code() -> None:
    text = model(wants=6.0, min_gap=0, max_images=1)
    pieces = list(write_interleaved(text, b"a", max_bytes=8, temperature=0.0, seed=1))
    (image,) = [piece for piece in pieces if isinstance(piece, Image)]
    before = b"a" + b"".join(piece for piece in pieces[: pieces.index(image)] if isinstance(piece, bytes))
    for place, code in enumerate(image.codes):
        seen = predict(text, Document([before, list(image.codes[:place])], open=True))
        assert int(seen.argmax()) == code


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
    assert int(predict(text, b"a").argmax()) == IMAGE_BEGINS
    assert len(b"".join(text.generate(b"a", max_bytes=5, temperature=0.0))) == 5
