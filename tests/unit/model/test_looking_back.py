"""Every part that looks back sees its own document's past and nothing else.

Each test changes the input of one position and asks which outputs move: none before it, none in another document,
and at least one of those that should.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from support.networks import network, scatter, scattered
from support.text import forward, packed, prose
from torch import Tensor, nn

from neat.model.attention import Attention, make_span
from neat.model.bytes import Smear
from neat.model.mixers import CausalConvolution, LocalContext, reach_back

DOCUMENT = torch.tensor([[0] * 7 + [1] * 9 + [-1] * 4])
WIDTH = 16


def _ready(module: nn.Module) -> nn.Module:
    scatter(module.double())
    return module


def _attention(window: int) -> Callable[[Tensor], Tensor]:
    module = _ready(Attention(WIDTH, 2, 1, qk_norm=True))
    span = make_span(DOCUMENT, window, WIDTH // 2, 100.0)
    return lambda x: module(x, span)


def _convolution(taps: int) -> Callable[[Tensor], Tensor]:
    module = _ready(CausalConvolution(WIDTH, taps))
    context = LocalContext(None, reach_back(DOCUMENT, taps, torch.float64))
    return lambda x: module(x, context)


def _smear() -> Callable[[Tensor], Tensor]:
    module = _ready(Smear(WIDTH))
    return lambda x: module(x, DOCUMENT)


# What looks back, and how many positions it reaches, its own included.
PARTS = {
    "attention": (lambda: _attention(0), 20),
    "windowed attention": (lambda: _attention(6), 6),
    "convolution": (lambda: _convolution(4), 4),
    "smear": (_smear, 2),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_change_moves_the_rest_of_its_document_within_reach_only(name: str) -> None:
    make, reach = PARTS[name]
    part = make()
    x = torch.randn(1, 20, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        before = part(x)
        for at in range(20):
            changed = x.clone()
            changed[0, at] += torch.randn(WIDTH, dtype=torch.float64)
            moved = (part(changed) != before).any(-1)[0].nonzero().flatten().tolist()
            same = [i for i in range(20) if DOCUMENT[0, i] == DOCUMENT[0, at]]
            assert moved == [i for i in same if at <= i < at + reach], at


@pytest.mark.parametrize("order", [1, 3])
def test_a_hash_embedding_sees_the_last_bytes_of_its_document_only(order: int) -> None:
    shape = network(hash_orders=(order,), smear=False, ngram_features=False)
    embedding = scattered(shape).embedding
    documents = [b"one two three", b"four five six"]
    before = packed(shape, documents, 40, "stride")
    for number, at in ((0, 0), (0, 5), (0, 12), (1, 0), (1, 7)):
        text = bytearray(documents[number])
        text[at] ^= 0x55
        others = [bytes(text) if index == number else document for index, document in enumerate(documents)]
        after = packed(shape, others, 40, "stride")
        with torch.no_grad():
            moved = (embedding(after) != embedding(before)).any(-1)[0].nonzero().flatten().tolist()
        # Position q of a document reads byte q - 1; its last byte is only a target.
        inputs = range(at + 1, min(at + 1 + order, len(text)))
        assert moved == [number * len(documents[0]) + i for i in inputs]


def test_the_latent_transformer_keeps_documents_apart() -> None:
    shape = network(encoder_layers=0, smear=False, hash_orders=(), ngram_features=False)
    model = scattered(shape)
    left, right = prose(3, 5), prose(4, 5)
    other = bytes(byte ^ 1 for byte in left)
    both = [forward(model, packed(shape, [first, right], 128, "stride")) for first in (left, other)]
    start, end = len(left), len(left) + len(right)
    assert torch.equal(both[0][0, start:end], both[1][0, start:end])
    assert not torch.equal(both[0][0, :start], both[1][0, :start])
