"""What a model still knows of a text, by distance: pairs of names and numbers, prose, then one of the names.

The model is not asked to write, only to rank: the number of the asked name against the numbers of the other names, by
the probability of its bytes. Chance is one over the number of pairs. With a memory the same is asked without it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from neat.errors import DataError
from neat.model.text.model import TextModel

NAMES = ("Alder", "Birch", "Cedar", "Hazel", "Larch", "Maple", "Rowan", "Willow")
PAIRS = 4
DISTANCES = (0, 256, 1024, 4096)
"""Bytes of prose between the last pair and the question."""


@dataclass(frozen=True, slots=True)
class Question:
    """A text that ends with a name, the number that belongs there, and the numbers of the other names."""

    text: bytes
    right: bytes
    wrong: tuple[bytes, ...]


def recall(
    model: TextModel,
    prose: Sequence[bytes],
    *,
    questions: int = 16,
    distances: Sequence[int] = DISTANCES,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Share of questions whose right number is the likeliest, by distance in bytes.

    Args:
        model: What is asked.
        prose: Text that stands between pairs and question.
        questions: Asked at each distance.
        distances: Bytes in between.
        seed: Of pairs, questions and prose.

    Returns:
        `accuracy`, `without_memory` for a network whose memory can be turned off, and `chance`, each by distance.

    Raises:
        DataError: There is less prose than the largest distance.
    """
    filler = b" ".join(prose)
    if len(filler) < max(distances):
        raise DataError(
            f"{len(filler)} bytes of text do not fill a distance of {max(distances)}", hint="give more files to --data"
        )
    asked = {distance: list(questions_at(filler, distance, questions, seed)) for distance in distances}
    found = {"accuracy": {str(distance): _share(model, some) for distance, some in asked.items()}}
    if "memory" in model.network.switchable():
        with _without_memory(model):
            found["without_memory"] = {str(distance): _share(model, some) for distance, some in asked.items()}
    return found | {"chance": {str(distance): 1 / PAIRS for distance in distances}}


def questions_at(filler: bytes, distance: int, number: int, seed: int) -> Iterator[Question]:
    """Questions with `distance` bytes of `filler`, which must be at least as long, behind the pairs."""
    chooser = random.Random(f"{seed} {distance}")
    for _ in range(number):
        names = chooser.sample(NAMES, PAIRS)
        values = [str(value).encode() for value in chooser.sample(range(1000, 10_000), PAIRS)]
        pairs = b" ".join(name.encode() + b" " + value + b"." for name, value in zip(names, values, strict=True))
        start = chooser.randrange(len(filler) - distance + 1)
        asked = chooser.randrange(PAIRS)
        text = pairs + b" " + filler[start : start + distance] + b" " + names[asked].encode() + b" "
        yield Question(text, values[asked], tuple(value for index, value in enumerate(values) if index != asked))


def _share(model: TextModel, questions: Sequence[Question]) -> float:
    right = 0
    for question in questions:
        candidates = [question.right, *question.wrong]
        rows = model.log_probs([question.text + candidate for candidate in candidates])
        start = len(question.text)
        likely = [
            sum(float(row[start + place, byte]) for place, byte in enumerate(candidate))
            for row, candidate in zip(rows, candidates, strict=True)
        ]
        right += likely[0] > max(likely[1:])
    return right / len(questions)


@contextmanager
def _without_memory(model: TextModel) -> Iterator[None]:
    model.network.activate("memory", on=False)
    try:
        yield
    finally:
        model.network.activate("memory", on=True)
