"""Recall by distance: what the questions are, and that the answer is the model's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.networks import network, scattered
from support.text import prose, text_model

from neat.config.schema import Memory
from neat.errors import DataError
from neat.evaluate.recall import NAMES, PAIRS, questions_at, recall

FILLER = [prose(seed) for seed in range(20)]
MEMORY = Memory.model_validate({"variant": "mag", "heads": 2, "hidden": 4, "chunk": 4})


class Knowing:
    """Gives the number behind the last mention of a name, read from the text itself, as a model would by memory."""

    class network:  # noqa: N801
        @staticmethod
        def switchable() -> frozenset[str]:
            return frozenset()

    def __init__(self, reach: int) -> None:
        self.reach = reach

    def log_probs(self, documents: list[bytes]) -> list[torch.Tensor]:
        rows = []
        for document in documents:
            *_, name, _ = document.split(b" ")
            seen = document[-self.reach - len(name) - 6 :] if self.reach else b""
            # Without the pair it says what no answer begins with.
            value = seen.split(name + b" ")[1][:4] if seen.count(name) > 1 else b"0000"
            row = torch.full((len(document), 256), -1.0)
            for place, byte in enumerate(value):
                row[len(document) - 4 + place, byte] = 0.0
            rows.append(row)
        return rows


def test_a_question_has_its_answer_at_the_distance_asked_for() -> None:
    for question in questions_at(b" ".join(FILLER), 300, 5, 0):
        name = question.text.split(b" ")[-2]
        assert name.decode() in NAMES and len(question.wrong) == PAIRS - 1
        assert question.text.startswith(name) or b" " + name + b" " in question.text
        assert question.text.index(name + b" " + question.right + b".") < len(question.text) - 300


def test_who_sees_the_pairs_knows_them_and_who_does_not_does_not() -> None:
    asked: dict[str, Any] = {"questions": 16, "distances": (0, 600)}
    everything = recall(Knowing(10_000), FILLER, **asked)  # type: ignore[arg-type]
    near = recall(Knowing(200), FILLER, **asked)  # type: ignore[arg-type]
    assert everything["accuracy"] == {"0": 1.0, "600": 1.0}
    assert near["accuracy"]["0"] == 1.0 and near["accuracy"]["600"] < 0.25


def test_a_network_is_asked_with_and_without_its_memory() -> None:
    shape = network(window=3)
    model = text_model(scattered(shape, memory=MEMORY), shape, window=64)
    before = model.log_probs([FILLER[0]])[0]
    found = recall(model, FILLER, questions=4, distances=(0, 100))
    assert set(found) == {"accuracy", "without_memory", "chance"}
    assert found["chance"] == {"0": 0.25, "100": 0.25}
    assert torch.equal(model.log_probs([FILLER[0]])[0], before)


def test_too_little_prose_is_refused() -> None:
    shape = network()
    with pytest.raises(DataError, match="do not fill a distance"):
        recall(text_model(scattered(shape), shape), [b"short"])
