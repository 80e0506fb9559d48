"""Tasks on held-out text: which continuation is the real one, what noise costs, what the model's own text is like."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from neat._native import NgramModel
from neat.errors import DataError
from neat.evaluate.likelihood import continuations
from neat.evaluate.tasks.items import Item, chooser, mean_and_stderr
from neat.model.text.model import TextModel
from neat.train.quality import degeneracy

CONTEXT, CONTINUATION = 160, 24
"""Bytes before and of a continuation."""
PIECE = 512
"""Bytes of a piece of text that noise is put on."""
SHARE = 0.1
"""Characters that noise changes."""
SAMPLE, OPENING = 128, 64
"""Bytes of a sample, and of the real text before it."""


def cloze(documents: Sequence[bytes], count: int, seed: int) -> list[Item]:
    """The real continuation of a passage among three continuations of other passages of the same text."""
    choose = chooser("cloze", seed)
    places = [
        (number, at + 1)
        for number, document in enumerate(documents)
        for at in range(CONTEXT, len(document) - CONTINUATION)
        if document[at] == ord(" ")
    ]
    _require(len(places) >= 4 * count, sum(map(len, documents)), f"{count} cloze items")
    chosen = iter(choose.sample(places, 4 * count))
    found = []
    for _ in range(count):
        (number, at), *others = (next(chosen) for _ in range(4))
        right = documents[number][at : at + CONTINUATION]
        wrong = tuple(documents[other][place : place + CONTINUATION] for other, place in others)
        if right not in wrong:
            found.append(Item(documents[number][at - CONTEXT : at], right, wrong, "all"))
    return found


def noise(model: TextModel, ngram: NgramModel, documents: Sequence[bytes], count: int, seed: int) -> dict[str, object]:
    """Bits per byte of pieces of text, clean and with a tenth of their characters changed.

    Returns:
        `items` (pieces) and, for `clean` and each kind of noise, `bpb` with `stderr` over pieces, and `ngram_bpb`.
    """
    pieces = _pieces(documents, count, seed)
    found: dict[str, object] = {}
    for name, change in NOISES.items():
        choose = chooser(name, seed)
        noisy = [change(piece.decode(errors="surrogateescape"), choose) for piece in pieces]
        texts = [text.encode(errors="surrogateescape") for text in noisy]
        bits = [-one.nats / math.log(2) for one in continuations(model, [(b"", text) for text in texts])]
        total = sum(map(len, texts))
        _, stderr = mean_and_stderr([cost / len(text) for cost, text in zip(bits, texts, strict=True)])
        found[name] = {
            "bpb": sum(bits) / total,
            "stderr": stderr,
            "ngram_bpb": sum(ngram.bits(text) for text in texts) / total,
        }
    return {"items": len(pieces), "by": found}


def _pieces(documents: Sequence[bytes], count: int, seed: int) -> list[bytes]:
    pieces = [document[at : at + PIECE] for document in documents for at in range(0, len(document) - PIECE + 1, PIECE)]
    _require(bool(pieces), sum(map(len, documents)), "a piece of 512 bytes")
    return chooser("pieces", seed).sample(pieces, min(count, len(pieces)))


def _changed(text: str, choose: random.Random, change: Callable[[str], str]) -> str:
    return "".join(change(character) if choose.random() < SHARE else character for character in text)


NOISES: dict[str, Callable[[str, random.Random], str]] = {
    "clean": lambda text, _: text,
    "drop": lambda text, choose: _changed(text, choose, lambda _: ""),
    "repeat": lambda text, choose: _changed(text, choose, lambda character: 2 * character),
    "random case": lambda text, choose: _changed(
        text, choose, lambda character: choose.choice((character.lower(), character.upper()))
    ),
    "uppercase": lambda text, choose: _changed(text, choose, str.upper),
}


def samples(model: TextModel, documents: Sequence[bytes], count: int, seed: int) -> dict[str, object]:
    """What the model writes after passages of real text, beside what really stands there.

    Returns:
        `items` and, for `model` and `text`, means over samples: `utf8_valid` (share that is valid UTF-8, a last
        character that was cut short aside) and the measures of `neat.train.quality.degeneracy`.
    """
    choose = chooser("samples", seed)
    places = [
        (number, at)
        for number, document in enumerate(documents)
        for at in range(OPENING, len(document) - SAMPLE)
        if document[at - 1] == ord(" ")
    ]
    _require(len(places) >= count, sum(map(len, documents)), f"{count} samples")
    chosen = choose.sample(places, count)
    prompts = [documents[number][at - OPENING : at] for number, at in chosen]
    written = model.generate_batch(prompts, max_bytes=SAMPLE, seed=seed)
    real = [documents[number][at : at + SAMPLE] for number, at in chosen]
    return {"items": count, "by": {"model": _quality(written), "text": _quality(real)}}


def _quality(texts: Sequence[bytes]) -> dict[str, object]:
    measures = [{"utf8_valid": float(is_utf8(text))} | degeneracy(text) for text in texts]
    means = {name: mean_and_stderr([one[name] for one in measures]) for name in measures[0]}
    return {name: mean for name, (mean, _) in means.items()} | {
        f"{name}_stderr": stderr for name, (_, stderr) in means.items()
    }


def is_utf8(text: bytes) -> bool:
    """Whether a text is valid UTF-8 as far as it goes: its last character may be cut short."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data" and error.end == len(text)
    return True


def _require(enough: bool, num_bytes: int, purpose: str) -> None:
    if not enough:
        raise DataError(f"{num_bytes} bytes of text are too few for {purpose}", hint="give more --data, or --limit")
