"""Which components take part: the decision, what it depends on, and what a checkpoint keeps of it."""

from __future__ import annotations

import mmap

import torch
from hypothesis import given
from hypothesis import strategies as st
from support.networks import network
from support.text import prose, rows

from neat.config.schema import Activation
from neat.train.activation import MIB, Policy, mean_patch_length, used_memory

BOTH = ("memory", "recursion")


def policy(**settings: object) -> Policy:
    """A policy over both components that may change at every step."""
    return Policy(Activation.model_validate({"patience": 1} | settings), BOTH)


def test_a_limit_turns_components_off_in_order_and_on_again_in_reverse() -> None:
    limited = policy(memory_limit_mib=100)
    story = [50, 120, 120, 120, 95, 80, 80, 80]
    seen = [
        [(change.component, change.on) for change in limited.decide(step, used * MIB, 4.0)]
        for step, used in enumerate(story, 1)
    ]
    off, on = [("memory", False)], [("recursion", True)]
    assert seen == [[], off, [("recursion", False)], [], [], on, [("memory", True)], []]


def test_patience_spaces_the_changes() -> None:
    patient = policy(memory_limit_mib=100, patience=3)
    changed = [step for step in range(1, 12) if patient.decide(step, 200 * MIB, 4.0)]
    assert changed == [1, 4]


def test_easy_batches_go_without_and_the_next_hard_one_has_everything() -> None:
    by_text = policy(easy_patch_length=5.0)
    assert [len(by_text.decide(step, 0, length)) for step, length in enumerate((4.0, 6.0, 7.0, 5.0), 1)] == [0, 2, 0, 2]
    assert by_text.share() == {"memory": 0.5, "recursion": 0.5}
    assert by_text.share() == {"memory": 0.0, "recursion": 0.0}


def test_the_reason_names_what_was_measured() -> None:
    (change,) = policy(memory_limit_mib=100).decide(1, 120 * MIB, 4.0)
    assert change.reason == "120 MiB in use, the limit is 100"
    first, _ = policy(easy_patch_length=5.0).decide(1, 0, 6.25)
    assert first.reason == "mean patch of 6.25 bytes, above 5"


@given(st.lists(st.tuples(st.integers(0, 300), st.floats(1, 16)), max_size=30), st.integers(0, 30))
def test_a_restored_policy_goes_on_like_one_that_never_stopped(story: list[tuple[int, float]], cut: int) -> None:
    settings = {"memory_limit_mib": 100, "easy_patch_length": 6.0, "patience": 2}
    whole, first, second = policy(**settings), policy(**settings), policy(**settings)
    told = [whole.decide(step, used * MIB, length) for step, (used, length) in enumerate(story)]
    before = [first.decide(step, used * MIB, length) for step, (used, length) in enumerate(story[:cut])]
    second.load(first.state())
    after = [second.decide(step, used * MIB, length) for step, (used, length) in enumerate(story[cut:], len(before))]
    assert before + after == told
    assert second.active() == whole.active()


def test_mean_patch_length_is_bytes_per_patch() -> None:
    documents = [prose(1, 9)[:50], prose(2, 9)[:33]]
    batch = rows(network(), documents, 64)
    patches = sum(int((batch.patch_length[row][:-1] > 0).sum()) for row in range(2))
    # Every document opens with a position for its begin.
    assert abs(mean_patch_length(batch) - (50 + 33) / patches) < 1e-5


def test_memory_in_use_follows_what_is_allocated() -> None:
    before = used_memory(torch.device("cpu"))
    # Pages of its own: an allocator that keeps what was freed would take nothing new.
    with mmap.mmap(-1, 64 * MIB) as block:
        block.write(b"\1" * (64 * MIB))
        assert used_memory(torch.device("cpu")) - before > 48 * MIB
