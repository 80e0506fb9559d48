"""Log-likelihood of continuations: what multiple choice is decided by.

A context that several continuations share is read once, where that gives what a pass over the whole text would: in a
network that reads on without end, or when context and continuation fit one window together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neat._native import NgramModel, Reader
from neat.errors import DataError
from neat.model.text.model import TextModel
from neat.model.vocabulary import NUM_BYTES

ROWS = 64
"""Continuations in one forward pass."""
BYTES = 65_536
"""Bytes of text whose distributions are held at once, a kilobyte each."""

Pair = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Of one continuation.

    Attributes:
        nats: Natural logarithm of its probability after the context.
        greedy: Whether each of its bytes is the likeliest, so that writing at temperature 0 would give it.
    """

    nats: float
    greedy: bool


@torch.inference_mode()
def continuations(model: TextModel, pairs: Sequence[Pair]) -> list[Likelihood]:
    """The likelihood of the second text of each pair after the first one.

    Raises:
        DataError: A continuation is empty.
    """
    if not all(continuation for _, continuation in pairs):
        raise DataError("a continuation is empty, so it has no likelihood")
    distinct = list(dict.fromkeys(pairs))
    fitting = [pair for pair in distinct if _fits(model, pair)]
    found: dict[Pair, Likelihood] = {}
    for group in _by_context(fitting):
        found |= _branched(model, group)
    rest = [pair for pair in distinct if pair not in found]
    for some in _portions(rest):
        tables = model.log_probs([context + continuation for context, continuation in some])
        for (context, continuation), table in zip(some, tables, strict=True):
            found[context, continuation] = _likelihood(table[len(context) :], continuation)
    return [found[pair] for pair in pairs]


def ngram_log_likelihood(ngram: NgramModel, context: bytes, continuation: bytes) -> float:
    """The same in nats under an n-gram model, which looks at the last `order` bytes of the context only."""
    tail = context[-ngram.order :]
    table = torch.from_numpy(ngram.distributions(tail + continuation))[len(tail) : len(tail) + len(continuation)]
    return float(table[torch.arange(len(continuation)), torch.tensor(list(continuation))].double().log().sum())


def _fits(model: TextModel, pair: Pair) -> bool:
    if model.windows is None:
        return True
    # The last byte is predicted, not read.
    text = (pair[0] + pair[1])[:-1]
    return Reader(model.preparer).fit(text, model.windows.positions, model.windows.patches) == len(text)


def _by_context(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Pairs for one forward pass each: those of one context together, contexts of similar lengths beside each other."""
    order = sorted(pairs, key=lambda pair: (-len(pair[0]), pair[0]))
    for first in range(0, len(order), ROWS):
        yield order[first : first + ROWS]


def _portions(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    some: list[Pair] = []
    size = 0
    for pair in pairs:
        length = len(pair[0]) + len(pair[1])
        if some and size + length > BYTES:
            yield some
            some, size = [], 0
        some.append(pair)
        size += length
    if some:
        yield some


def _branched(model: TextModel, pairs: Sequence[Pair]) -> dict[Pair, Likelihood]:
    """Reads each context once, and every continuation in a copy of its state."""
    contexts = list(dict.fromkeys(context for context, _ in pairs))
    state = model.new_state(len(contexts))
    state.read(contexts)
    place = {context: row for row, context in enumerate(contexts)}
    branches = state.select([place[context] for context, _ in pairs])
    logits = [[row[None]] for row in branches.logits]
    for piece in branches.pieces([continuation[:-1] for _, continuation in pairs]):
        for number, row in enumerate(piece.rows):
            logits[row].append(piece.logits[number, : piece.counts[number]].float().cpu())
    tables = (torch.log_softmax(torch.cat(some).double(), -1) for some in logits)
    return {pair: _likelihood(table, pair[1]) for pair, table in zip(pairs, tables, strict=True)}


def _likelihood(table: Tensor, text: bytes) -> Likelihood:
    """Of a text whose bytes have the log-probabilities of `table`, [len, V]."""
    targets = torch.tensor(list(text))
    nats = float(table[torch.arange(len(text)), targets].double().sum())
    return Likelihood(nats, bool((table[:, :NUM_BYTES].argmax(-1) == targets).all()))
