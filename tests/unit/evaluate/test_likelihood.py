"""Likelihoods of continuations: equal to those of whole texts, whichever way they are read."""

from __future__ import annotations

import math

import pytest
import torch
from support.text import ngram, noise, prose
from support.written import KINDS, small_model

from neat.errors import DataError
from neat.evaluate import likelihood
from neat.evaluate.likelihood import continuations, ngram_log_likelihood

CONTEXTS = (b"", b"the river ", prose(1)[:20], prose(2)[:150], b"the river ")
TEXTS = (b"s", b"stone", "naïve ".encode(), noise(0, 30))
PAIRS = [(context, text) for context in CONTEXTS for text in TEXTS]


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_of_the_whole_text(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some pairs fit one window, some do not; groups and portions are smaller than all of them."""
    monkeypatch.setattr(likelihood, "ROWS", 5)
    monkeypatch.setattr(likelihood, "BYTES", 300)
    model = small_model(kind)
    ways = {likelihood._fits(model, pair) for pair in PAIRS}
    assert ways == ({True, False} if kind == "windows" else {True})
    for (context, text), found in zip(PAIRS, continuations(model, PAIRS), strict=True):
        (table,) = model.log_probs([context + text])
        rows = table[len(context) :]
        assert found.nats == pytest.approx(
            sum(float(row[byte]) for row, byte in zip(rows, text, strict=True)), abs=1e-4
        )
        assert found.greedy == (bytes(rows.argmax(-1).tolist()) == text)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_at_temperature_0_is_greedy(kind: str) -> None:
    model = small_model(kind)
    prompts = [prose(seed)[: 10 + 30 * seed] for seed in range(3)]
    written = model.generate_batch(prompts, max_bytes=9, temperature=0.0)
    other = [text[:-1] + bytes([text[-1] ^ 1]) for text in written]
    found = continuations(model, [*zip(prompts, written, strict=True), *zip(prompts, other, strict=True)])
    assert [one.greedy for one in found] == [True] * 3 + [False] * 3


def test_an_empty_continuation_is_refused() -> None:
    with pytest.raises(DataError, match="is empty"):
        continuations(small_model("stream"), [(b"a", b"")])


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_ngram_model_counts_the_whole_context(context: bytes) -> None:
    model, text = ngram(), b"tide said"
    table = torch.from_numpy(model.distributions(context + text))
    nats = sum(math.log(float(table[len(context) + place, byte])) for place, byte in enumerate(text))
    assert ngram_log_likelihood(model, context, text) == pytest.approx(nats, abs=1e-6)
    whole = ngram_log_likelihood(model, b"", context + text) - (
        ngram_log_likelihood(model, b"", context) if context else 0
    )
    assert whole == pytest.approx(nats, abs=1e-5)
