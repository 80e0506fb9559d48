"""A small corpus with words, code points of two bytes and bytes that are no UTF-8, and rows made of it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from neat import _native
from neat.config.schema import Network
from neat.model.batch import Batch
from neat.model.neat import NeatModel
from neat.model.text.model import TextModel
from support.networks import MAX_PATCH

WORDS = (
    *("the", "of", "and", "river", "stone", "lantern", "tide", "harbour", "naïve", "coöperate"),
    *("über", "said", "she", "keeper", "walked", "down", "slowly"),
)
RULES = ("global", "monotonic", "both", "space", "stride", "byte")


def prose(seed: int, words: int = 60) -> bytes:
    """Sentences of known words in random order."""
    chooser = random.Random(seed)
    return (" ".join(chooser.choices(WORDS, k=words)) + ".\n").encode()


def noise(seed: int, length: int) -> bytes:
    """Arbitrary bytes."""
    return random.Random(seed).randbytes(length)


@cache
def ngram() -> _native.NgramModel:
    """An n-gram model of the test language."""
    return _native.NgramModel.train_bytes([prose(seed) for seed in range(40)], 4)


@cache
def patcher(rule: str) -> _native.Patcher:
    """A patcher of each rule with patches of a few bytes."""
    return _native.Patcher(rule, threshold=0.8, increment=0.3, max_length=MAX_PATCH, stride=3)


def preparer(shape: Network, rule: str = "global") -> _native.Preparer:
    """The preparer that fits a test network."""
    return _native.Preparer(
        _native.CrossFit.single(ngram()), patcher(rule), list(shape.hash_orders), shape.hash_rows, shape.ngram_features
    )


def arrays(
    shape: Network, documents: Sequence[bytes], positions: int, rule: str = "global", slots: int = 0
) -> dict[str, npt.NDArray[Any]]:
    """One row per document, which must fit."""
    spans = [(index, 0, len(document), 0) for index, document in enumerate(documents)]
    return preparer(shape, rule).windows(list(documents), spans, positions, slots or positions + 1)


def rows(shape: Network, documents: Sequence[bytes], positions: int, rule: str = "global", slots: int = 0) -> Batch:
    """`arrays` as a batch."""
    return Batch.from_arrays(arrays(shape, documents, positions, rule, slots))


def packed(shape: Network, documents: Sequence[bytes], positions: int, rule: str = "global") -> Batch:
    """All documents, one after the other, in one row."""
    segments = [(index, 0, len(document), 0) for index, document in enumerate(documents)]
    return Batch.from_arrays(preparer(shape, rule).packed(list(documents), [segments], positions, positions + 1))


def forward(model: NeatModel, batch: Batch) -> torch.Tensor:
    """Logits without gradients."""
    with torch.no_grad():
        logits: torch.Tensor = model(batch)
    return logits


def text_model(model: NeatModel, shape: Network, rule: str = "global", window: int = 32, slots: int = 0) -> TextModel:
    """A model that reads text in windows of `window` positions."""
    return TextModel(model, preparer(shape, rule), window=window, patch_slots=slots or window + 1)


def close(left: torch.Tensor, right: torch.Tensor, tolerance: float = 1e-12) -> bool:
    """Whether two tensors agree up to rounding of float64 sums."""
    return bool(np.allclose(left.numpy(), right.numpy(), rtol=0, atol=tolerance))
