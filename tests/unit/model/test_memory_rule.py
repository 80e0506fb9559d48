"""The memory's rule against the recurrence patch by patch, whose gradients come from autograd."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from support.memories import random_weights, random_writes, slow_row
from torch import Tensor

from neat.model.memory.rows import learn
from neat.model.memory.rule import begin, learn_chunk, places
from neat.model.memory.terms import Chunk, Rule, Weights, Writes

HEADS, WIDTH, HIDDEN, NUM = 2, 4, 5, 17
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


def whole_chunk(fresh: Weights, writes: Writes, rule: Rule) -> Chunk:
    """All patches as one chunk of one document."""
    place = places(torch.zeros(1, writes.rate.shape[2], dtype=torch.int64), writes.rate.shape[2])[0]
    return learn_chunk(begin(fresh, 1), fresh, writes, place, rule, fresh=fresh)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("chunk", [1, 4, 7, 17, 40])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_chunks_equal_the_recurrence(rule: Rule, chunk: int, name: str) -> None:
    document = DOCUMENTS[name]
    real = [i for i, number in enumerate(document) if number >= 0]
    fresh, writes = random_weights(HEADS, WIDTH, HIDDEN), random_writes(1, HEADS, NUM, WIDTH)
    mine = fast_row(fresh, writes, document, chunk, rule)
    plain = slow_row(fresh, writes, document, chunk, rule)
    torch.testing.assert_close(mine[:, :, real], plain[:, :, real], rtol=1e-11, atol=1e-11)


def test_the_cases_above_meet_every_bound() -> None:
    """Otherwise clipping, repeated keys or the threshold would not have been tested."""
    fresh, writes = random_weights(HEADS, WIDTH, HIDDEN), random_writes(1, HEADS, NUM, WIDTH)
    taken = whole_chunk(fresh, writes, RULES["all"]).taken
    assert 0 < int(taken.wrote.sum()) < taken.wrote.numel()
    assert bool((whole_chunk(fresh, writes, PLAIN).taken.first.norm(dim=-1) > 0.3).any())
    assert bool((writes.key[0, :, 1] == writes.key[0, :, 2]).all())


@pytest.mark.parametrize("rule", [PLAIN, RULES["all"]], ids=["plain", "all"])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_outer_gradients_are_those_of_the_recurrence(rule: Rule, name: str) -> None:
    """Of the reads with respect to everything that the outer optimiser learns."""
    document = DOCUMENTS[name]
    fresh = Weights(*(weights.requires_grad_() for weights in random_weights(HEADS, WIDTH, HIDDEN)))
    writes = random_writes(1, HEADS, NUM, WIDTH, grad=True)
    direction = torch.randn(1, HEADS, NUM, WIDTH, dtype=torch.float64)
    direction *= torch.tensor(document)[:, None] >= 0
    found = []
    for row in (fast_row, slow_row):
        total = (row(fresh, writes, document, 4, rule) * direction).sum()
        found.append(torch.autograd.grad(total, (*fresh, *writes)))
    for mine, plain in zip(*found, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-9, atol=1e-9)
        assert bool(plain.any())


def test_the_gradients_are_those_of_differences() -> None:
    fresh = Weights(*(weights.requires_grad_() for weights in random_weights(1, 3, 2)))
    writes = random_writes(1, 1, 5, 3, grad=True)

    def reads(*inputs: Tensor) -> Tensor:
        # Keys are unit vectors in use; others would put the count of a first key on either side of 1.
        writes = Writes(*inputs[2:])._replace(key=F.normalize(inputs[3], dim=-1))
        return fast_row(Weights(*inputs[:2]), writes, [0, 0, 0, 1, 1], 2, Rule(0.3, True, 0.0, torch.float64))

    assert torch.autograd.gradcheck(reads, (*fresh, *writes))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_read_depends_on_its_document_up_to_its_patch(name: str) -> None:
    """Repeated keys count: a version that looked at the keys of the whole chunk would fail here."""
    document = DOCUMENTS[name]
    fresh, writes = random_weights(HEADS, WIDTH, HIDDEN), random_writes(1, HEADS, NUM, WIDTH)
    rule = Rule(0.3, True, 0.0, torch.float64)
    before = fast_row(fresh, writes, document, 8, rule)
    for at in range(NUM):
        other = random_writes(1, HEADS, NUM, WIDTH)
        changed = Writes(*(old.clone() for old in writes))
        for new, old in zip(changed, other, strict=True):
            new[:, :, at] = old[:, :, at]
        moved = (fast_row(fresh, changed, document, 8, rule) != before).any(-1).any(1)[0].nonzero().flatten().tolist()
        same = [i for i in range(at, NUM) if document[i] == document[at]]
        assert moved == (same if document[at] >= 0 else [at]), at


def test_forgetting_everything_empties_the_memory() -> None:
    fresh, writes = random_weights(HEADS, WIDTH, HIDDEN), random_writes(1, HEADS, NUM, WIDTH)
    nothing = torch.zeros_like(writes.rate)
    gone = writes._replace(log_keep=torch.full_like(writes.rate, -torch.inf), rate=nothing)
    learned = whole_chunk(fresh, gone, PLAIN)
    assert float(learned.reads.abs().max()) < 1e-12
    assert max(float(layer.abs().max()) for layer in learned.state) < 1e-12


def test_without_rate_and_forgetting_the_memory_stays() -> None:
    fresh, writes = random_weights(HEADS, WIDTH, HIDDEN), random_writes(1, HEADS, NUM, WIDTH)
    nothing = torch.zeros_like(writes.rate)
    learned = whole_chunk(fresh, writes._replace(log_keep=nothing, rate=nothing), PLAIN)
    torch.testing.assert_close(learned.state.weights.first[0], fresh.first, rtol=0, atol=0)
    expected = F.silu(writes.query @ fresh.first) @ fresh.second
    torch.testing.assert_close(learned.reads, expected, rtol=0, atol=1e-13)


def test_long_chunks_with_strong_forgetting_are_finite_and_exact_in_float32() -> None:
    """Quotients of products would overflow here: 0.7 ** 512 is below the smallest float32."""
    num = 512
    fresh, writes = random_weights(1, WIDTH, HIDDEN), random_writes(1, 1, num, WIDTH)
    writes = writes._replace(log_keep=torch.full_like(writes.rate, -0.35), rate=writes.rate * 0.1)
    exact = whole_chunk(fresh, writes, RULES["clip"]).reads
    rough = Rule(0.3, False, 0.0, torch.float32)
    single = whole_chunk(Weights(*(w.float() for w in fresh)), Writes(*(t.float() for t in writes)), rough).reads
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-4)


def test_products_in_half_precision_keep_weights_and_sums_in_full() -> None:
    """What a GPU does; only the rounding of single products may differ."""
    fresh, writes = random_weights(HEADS, WIDTH, HIDDEN), random_writes(1, HEADS, NUM, WIDTH)
    single = (Weights(*(w.float() for w in fresh)), Writes(*(t.float() for t in writes)))
    exact = whole_chunk(fresh, writes, RULES["clip"])
    half = whole_chunk(*single, Rule(0.3, False, 0.0, torch.bfloat16))
    assert half.reads.dtype == half.state.first.dtype == torch.float32
    for mine, plain in ((half.reads, exact.reads), *zip(half.state, exact.state, strict=True)):
        error = (mine.double() - plain).norm() / plain.norm()
        assert 1e-5 < float(error) < 0.02


@pytest.mark.parametrize("clip", [0.01, 0.5])
def test_clipping_bounds_the_step_of_a_patch(clip: float) -> None:
    fresh, writes = random_weights(HEADS, WIDTH, HIDDEN), random_writes(1, HEADS, 1, WIDTH)
    writes = writes._replace(rate=torch.ones_like(writes.rate), value=writes.value * 100)
    moved = whole_chunk(fresh, writes, Rule(clip, False, 0.0, torch.float64)).state
    for layer, size in zip(moved, (WIDTH, HIDDEN), strict=True):
        norms = torch.linalg.matrix_norm(layer[:, :, size:])
        torch.testing.assert_close(norms, torch.full_like(norms, clip), rtol=1e-9, atol=0)


def test_a_chunk_of_equal_keys_steps_no_further_than_its_sum_of_shares() -> None:
    """n equal keys see one gradient; with the count their steps are 1, 1/2, .. 1/n of it instead of n times it."""
    num = 16
    fresh, writes = random_weights(1, WIDTH, HIDDEN), random_writes(1, 1, num, WIDTH)
    same = {name: getattr(writes, name)[:, :, :1].expand(-1, -1, num, -1) for name in ("key", "value")}
    ones, zeros = torch.ones_like(writes.rate), torch.zeros_like(writes.rate)
    still = torch.full_like(writes.rate, -30.0)
    writes = writes._replace(**same, log_keep=zeros, log_momentum=still, rate=ones)
    steps = [whole_chunk(fresh, writes, rule).state.weights.first[0] - fresh.first for rule in (PLAIN, RULES["gram"])]
    harmonic = sum(1 / n for n in range(1, num + 1))
    torch.testing.assert_close(steps[1], steps[0] * harmonic / num, rtol=1e-9, atol=1e-9)
