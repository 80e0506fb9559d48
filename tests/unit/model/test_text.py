"""Probabilities, scores and generation of one model: the same numbers, whatever way they are asked for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.networks import network, scatter, scattered, whole
from support.text import noise, prose, rows, text_model

from neat.errors import DataError, UsageError
from neat.model.neat import NeatModel
from neat.model.text.model import TextModel

SHAPE = network(encoder_mixer="attention", read="cross_attention")


@pytest.fixture(scope="module")
def model() -> TextModel:
    """A float32 model with windows of 32 bytes, as a user has it."""
    network_ = NeatModel(whole(SHAPE)).eval()
    scatter(network_, std=0.3)
    return text_model(network_, SHAPE)


DOCUMENTS = [prose(1, 9), b"", b"\x00", noise(5, 40), prose(2, 60), b"\xff\xfe\xc3", "naïve".encode() * 30, b"a" * 33]


def test_log_probs_are_distributions_for_every_byte(model: TextModel) -> None:
    results = model.log_probs(DOCUMENTS)
    for document, result in zip(DOCUMENTS, results, strict=True):
        assert result.shape == (len(document), 256) and result.dtype == torch.float32
        totals = result.double().exp().sum(-1)
        assert bool(((totals - 1).abs() < 1e-6).all())


def test_row_zero_has_seen_nothing(model: TextModel) -> None:
    first = [result[0] for result in model.log_probs(DOCUMENTS) if len(result)]
    for other in first[1:]:
        torch.testing.assert_close(other, first[0], rtol=0, atol=1e-5)


def test_log_probs_are_those_of_the_network(model: TextModel) -> None:
    document = prose(3, 9)[:31]
    with torch.no_grad():
        logits = model.network(rows(SHAPE, [document], 32))[0, :31]
    torch.testing.assert_close(model.log_probs([document])[0], logits.log_softmax(-1), rtol=0, atol=1e-5)


def test_the_score_is_the_sum_of_the_log_probs(model: TextModel) -> None:
    score = model.score(DOCUMENTS)
    nats = 0.0
    for document, result in zip(DOCUMENTS, model.log_probs(DOCUMENTS), strict=True):
        nats -= sum(float(result[i, byte]) for i, byte in enumerate(document))
    assert score.bits == pytest.approx(nats / math.log(2), rel=1e-5)
    assert (score.num_bytes, score.num_documents) == (sum(map(len, DOCUMENTS)), len(DOCUMENTS))
    assert score.bpb == pytest.approx(score.bits / score.num_bytes)


def test_a_score_does_not_depend_on_the_documents_beside_it(model: TextModel) -> None:
    alone = sum(model.score([document]).bits for document in DOCUMENTS)
    assert model.score(DOCUMENTS).bits == pytest.approx(alone, rel=1e-6)


def test_the_score_of_no_bytes_is_no_division_by_zero(model: TextModel) -> None:
    assert model.score([]).bits == 0
    assert math.isnan(model.score([b""]).bpb)


def test_text_that_is_not_bytes_is_refused(model: TextModel) -> None:
    with pytest.raises(DataError, match="str, not bytes"):
        model.log_probs(["text"])  # type: ignore[list-item]


def test_probabilities_of_long_documents_do_not_look_ahead() -> None:
    """Several windows: where they are cut must not depend on what follows."""
    model = text_model(scattered(SHAPE), SHAPE, window=32, slots=12)
    document = prose(4, 50)
    (whole,) = model.log_probs([document])
    for cut in (1, 31, 32, 33, 47, 48, 100, 170):
        changed = document[:cut] + noise(cut, 20)
        (other,) = model.log_probs([changed])
        torch.testing.assert_close(other[: cut + 1], whole[: cut + 1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("at", [90, 94, 95, 96, 100, 111, 112, 113])
def test_long_documents_see_at_least_half_a_window(at: int) -> None:
    """Bytes far back have no influence; those within half a window do, wherever the windows are cut."""
    shape = network(patches=False, hash_orders=(), ngram_features=False)
    model = text_model(scattered(shape), shape, "byte", window=32)
    document = bytearray(prose(4, 40))
    (before,) = model.log_probs([bytes(document)])
    document[at] ^= 1
    (after,) = model.log_probs([bytes(document)])
    moved = (before != after).any(-1).nonzero().flatten().tolist()
    assert set(range(at + 1, at + 16)) <= set(moved) <= set(range(at + 1, at + 33))


def greedy(model: TextModel, prompt: bytes, length: int) -> bytes:
    """The most likely byte, again and again, each time from a full forward pass over the text so far."""
    text = bytearray(prompt)
    for _ in range(length):
        # A probe byte asks for the distribution after the text; it cannot influence it.
        (log_probs,) = model.log_probs([bytes(text) + b"?"])
        text.append(int(log_probs[-1].argmax()))
    return bytes(text[len(prompt) :])


@pytest.mark.parametrize("prompt", [b"", b"the river", noise(3, 50), prose(5, 12)])
def test_greedy_text_is_the_path_of_the_most_likely_bytes(model: TextModel, prompt: bytes) -> None:
    written = b"".join(model.generate(prompt, max_bytes=40, temperature=0))
    assert written == greedy(model, prompt, 40)


def test_sampling_is_reproducible_and_follows_the_seed(model: TextModel) -> None:
    def write(seed: int) -> bytes:
        return b"".join(model.generate(b"the ", max_bytes=30, seed=seed, temperature=1.0, top_p=1.0))

    assert write(1) == write(1) and len(write(1)) == 30
    assert len({write(seed) for seed in range(5)}) == 5


def test_sampling_leaves_the_global_generator_alone(model: TextModel) -> None:
    before = torch.get_rng_state()
    list(model.generate(b"", max_bytes=3))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_bytes_asked_for_none_written(model: TextModel) -> None:
    assert list(model.generate(b"the", max_bytes=0)) == []


@pytest.mark.parametrize("place", [0, 1, 7, 20])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_a_stop_text_ends_the_result_before_itself(model: TextModel, place: int, length: int) -> None:
    free = b"".join(model.generate(b"of the", max_bytes=30, seed=4, temperature=1.0))
    stop = free[place : place + length]
    pieces = list(model.generate(b"of the", max_bytes=30, seed=4, temperature=1.0, stop=[b"not in there", stop]))
    # One byte a step: a stop text always comes in pieces.
    assert b"".join(pieces) == free[: free.index(stop)]


def test_the_beginning_of_a_stop_text_is_written_when_the_rest_does_not_come(model: TextModel) -> None:
    free = b"".join(model.generate(b"of the", max_bytes=30, seed=4, temperature=1.0))
    almost = free[5:9] + bytes([free[9] ^ 1])
    assert b"".join(model.generate(b"of the", max_bytes=30, seed=4, temperature=1.0, stop=[almost])) == free
    at_the_end = free[-2:] + b"!"
    assert b"".join(model.generate(b"of the", max_bytes=30, seed=4, temperature=1.0, stop=[at_the_end])) == free


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"stop": [b"x", b""]}, "stop text is empty"),
        ({"top_p": 0.0}, "top_p of 0"),
        ({"top_p": 1.5}, "top_p of 1.5"),
        ({"temperature": -1.0}, "temperature of -1"),
        ({"temperature": math.nan}, "temperature of nan"),
        ({"temperature": math.inf}, "temperature of inf"),
    ],
)
def test_impossible_wishes_are_refused_at_once(model: TextModel, options: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        model.generate(b"", max_bytes=3, **options)


def test_text_comes_as_it_is_written(model: TextModel) -> None:
    pieces = model.generate(b"the", max_bytes=10**9, seed=1)
    assert len(b"".join(next(pieces) for _ in range(5))) == 5
