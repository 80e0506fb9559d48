"""Multiple choice: items, and how a model and its n-gram model do on them.

A model is not asked to write, only to rank: it is right when the right answer is likelier than every other one. So no
rule for reading answers stands between a model and its score, and chance is known exactly.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from neat._native import NgramModel
from neat.evaluate.likelihood import continuations, ngram_log_likelihood
from neat.model.text.model import TextModel


@dataclass(frozen=True, slots=True)
class Item:
    """One question.

    Attributes:
        prompt: What is read.
        right: The right answer.
        wrong: The others, none equal to it.
        group: What the score is also given by: a distance, a number of digits, a kind.
    """

    prompt: bytes
    right: bytes
    wrong: tuple[bytes, ...]
    group: str


def chooser(task: str, seed: int) -> random.Random:
    """The random choices of a task, the same on every machine."""
    return random.Random(f"{task} {seed}")


def score_items(model: TextModel, ngram: NgramModel, items: Sequence[Item]) -> dict[str, object]:
    """Accuracy of both on the same items, beside chance.

    Returns:
        `items`, `chance`; `accuracy`, `stderr` and `by` (accuracy by group); `bits_per_byte` of the right answers;
        `ngram_accuracy` and `ngram_bits_per_byte`.
    """
    pairs = [(item.prompt, answer) for item in items for answer in (item.right, *item.wrong)]
    network = iter([one.nats for one in continuations(model, pairs)])
    counts = iter([ngram_log_likelihood(ngram, *pair) for pair in pairs])
    by_model, model_bits = _judged(items, network)
    by_ngram, ngram_bits = _judged(items, counts)
    mean, stderr = mean_and_stderr(by_model)
    groups: dict[str, list[float]] = {}
    for item, correct in zip(items, by_model, strict=True):
        groups.setdefault(item.group, []).append(correct)
    return {
        "items": len(items),
        "chance": sum(1 / (1 + len(item.wrong)) for item in items) / len(items),
        "accuracy": mean,
        "stderr": stderr,
        "ngram_accuracy": sum(by_ngram) / len(items),
        "bits_per_byte": model_bits,
        "ngram_bits_per_byte": ngram_bits,
        "by": {group: sum(some) / len(some) for group, some in groups.items()},
    }


def _judged(items: Sequence[Item], nats: Iterator[float]) -> tuple[list[float], float]:
    """1 for each item that is right, else 0; and bits per byte of the right answers."""
    found, total = [], 0.0
    for item in items:
        right, *wrong = [next(nats) for _ in range(1 + len(item.wrong))]
        found.append(float(right > max(wrong)))
        total -= right / math.log(2)
    return found, total / sum(len(item.right) for item in items)


def mean_and_stderr(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and its standard error; None for a single value."""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, None
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))
