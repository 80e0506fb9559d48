"""A run that goes without a component under a memory limit or on easy text: told of, and still a valid run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.networks import network, scattered
from support.runs import configure
from support.text import forward, prose, rows

import neat
from neat.config.schema import Memory
from neat.events.reader import read_events
from neat.train.activation import apply_policy
from neat.train.build import build
from neat.train.loop import run
from neat.train.report import evaluation_weights

MEMORY = {"memory__variant": "mag", "memory__heads": 2, "memory__hidden": 4, "memory__chunk": 4, "memory__layers": [1]}


def story(root: Path, kind: str) -> list[dict[str, Any]]:
    return [{"step": event.step, **event.data} for event in read_events(root / "events.jsonl") if event.type == kind]


def test_a_memory_limit_turns_the_memory_off_and_the_run_goes_on(corpus: Path, tmp_path: Path) -> None:
    config = configure(corpus, **MEMORY, train__max_steps=6, activation__memory_limit_mib=1)
    assert run(config, tmp_path / "run") == 0
    (change,) = story(tmp_path / "run", "activation")
    assert (change["step"], change["component"], change["on"]) == (0, "memory", False)
    assert change["reason"].endswith("MiB in use, the limit is 1")
    steps = story(tmp_path / "run", "step")
    assert [step["activation/memory"] for step in steps] == [0.0] * 6
    assert all(math.isfinite(step["train/loss"]) for step in steps)
    assert math.isfinite(story(tmp_path / "run", "eval")[0]["eval/bpb"])
    (log_probs,) = neat.load(tmp_path / "run").log_probs([prose(5)[:50]])
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(50), rtol=0, atol=1e-5)


def test_evaluation_uses_what_training_goes_without(corpus: Path) -> None:
    trainer = build(configure(corpus, **MEMORY, activation__memory_limit_mib=1))
    batch, _ = trainer.next_batch()
    assert trainer.policy is not None
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if name.endswith(("memory.out.weight", "head.weight")):
                parameter.normal_()
    whole = forward(trainer.model, batch)
    apply_policy(trainer.policy, trainer.model, batch, 1)
    without = forward(trainer.model, batch)
    assert not torch.equal(without, whole)
    with evaluation_weights(trainer):
        assert torch.equal(forward(trainer.model, batch), whole)
    assert torch.equal(forward(trainer.model, batch), without)


def test_easy_batches_go_without_memory_and_the_share_is_told(corpus: Path, tmp_path: Path) -> None:
    config = configure(corpus, **MEMORY, train__max_steps=12, activation__easy_patch_length=3.5)
    assert run(config, tmp_path / "run") == 0
    shares = [step["activation/memory"] for step in story(tmp_path / "run", "step")]
    changes = story(tmp_path / "run", "activation")
    # Patches are 3.5 bytes long on average, so some batches lie above and some below.
    assert set(shares) == {0.0, 1.0}
    assert len(changes) == sum(now != then for then, now in zip([1.0, *shares], shares, strict=False))


@pytest.mark.parametrize("variant", ["mag", "mal"])
def test_off_adds_nothing_and_on_again_is_what_it_was(variant: str) -> None:
    shape = network()
    memory = Memory.model_validate({"variant": variant, "heads": 2, "hidden": 4, "chunk": 4})
    model, batch = scattered(shape, memory=memory), rows(shape, [prose(1, 9)[:50]], 64)
    whole = forward(model, batch)
    model.activate("memory", on=False)
    without = forward(model, batch)
    model.activate("memory", on=True)
    assert torch.equal(forward(model, batch), whole)
    silent = scattered(shape, memory=memory)
    with torch.no_grad():
        for name, parameter in silent.named_parameters():
            if name.endswith("memory.out.weight"):
                parameter.zero_()
    assert torch.equal(without, forward(silent, batch))
    assert not torch.equal(without, whole)
