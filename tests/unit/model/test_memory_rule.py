"""The memory's rule against the recurrence patch by patch, whose gradients come from autograd."""

from __future__ import annotations

import pytest
import torch
from support.memories import random_weights, random_writes, slow_row
from torch import Tensor

from neat.model.memory_rule import Rule, Weights, Writes, begin, learn, places

HEADS, WIDTH, HIDDEN = 2, 4, 5
PLAIN = Rule(clip=0.0, gram=False, threshold=0.0, product=torch.float64)
RULES = {
    "plain": PLAIN,
    "clip": Rule(0.3, False, 0.0, torch.float64),
    "gram": Rule(0.0, True, 0.0, torch.float64),
    "threshold": Rule(0.0, False, 1.2, torch.float64),
    "all": Rule(0.3, True, 1.2, torch.float64),
}
DOCUMENTS = {
    "one": [0] * 17,
    "three": [0] * 6 + [1] * 2 + [2] * 9,
    "padded": [0] * 3 + [1] * 10 + [-1] * 4,
}


def fast_row(fresh: Weights, writes: Writes, document: list[int], chunk: int, rule: Rule) -> Tensor:
    where = places(torch.tensor([document]), chunk)
    return learn(begin(fresh, 1), fresh, writes, where, rule)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("chunk", [1, 4, 7, 17, 40])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_chunks_equal_the_recurrence(rule: Rule, chunk: int, name: str) -> None:
    document = DOCUMENTS[name]
    real = [i for i, number in enumerate(document) if number >= 0]
    fresh, writes = random_weights(HEADS, WIDTH, HIDDEN), random_writes(1, HEADS, 17, WIDTH)
    mine = fast_row(fresh, writes, document, chunk, rule)
    plain = slow_row(fresh, writes, document, chunk, rule)
    torch.testing.assert_close(mine[:, :, real], plain[:, :, real], rtol=1e-11, atol=1e-11)
