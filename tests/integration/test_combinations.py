"""Every combination of the components builds, trains, is evaluated, comes back from its checkpoint and writes."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from support.runs import configure
from support.text import prose

import neat
from neat.events.reader import read_events
from neat.model.components import component_of
from neat.model.text.model import TextModel
from neat.train.loop import run

ON: dict[str, dict[str, Any]] = {
    "memory": {
        "memory__variant": "mag", "memory__heads": 2, "memory__hidden": 4, "memory__chunk": 4, "memory__persistent": 2
    },
    "experts": {"expert__count": 2, "expert__dispatcher_width": 4},
    "vision": {
        "vision__on": True, "vision__codec": "palette:8", "vision__codes": 8, "vision__grid": 3,
        "vision__image_size": 24, "vision__head_ffn_width": 8,
    },
    "halting": {"recursion__depth": 2, "recursion__halting": True},
}  # fmt: skip
BYTES = {"patcher__rule": "byte"}
COMBINATIONS = list(product((False, True), repeat=4))


def name_of(combination: tuple[bool, ...]) -> str:
    return "+".join(name for name, on in zip(ON, combination, strict=True) if on) or "none"


def settings(combination: tuple[bool, ...]) -> dict[str, Any]:
    changes: dict[str, Any] = {"train__curriculum": [], "train__max_steps": 5}
    for (_, keys), on in zip(ON.items(), combination, strict=True):
        changes |= keys if on else {}
    return changes


@pytest.mark.parametrize("rule", ["entropy", "byte"])
@pytest.mark.parametrize("combination", COMBINATIONS, ids=name_of)
def test_a_combination_trains_and_is_what_its_checkpoint_says(
    corpus: Path, tmp_path: Path, combination: tuple[bool, ...], rule: str
) -> None:
    config = configure(corpus, **settings(combination), **(BYTES if rule == "byte" else {}))
    assert run(config, tmp_path / "run") == 0
    evaluation = next(event for event in read_events(tmp_path / "run" / "events.jsonl") if event.type == "eval")
    assert math.isfinite(float(evaluation.data["eval/bpb"]))  # type: ignore[arg-type]
    model = neat.load(tmp_path / "run")
    names = {component_of(name, experts=combination[1]) for name, _ in model.network.named_parameters()}
    expected = {name for name, on in zip(ON, combination, strict=True) if on} | {"core", "patching"}
    assert names == expected
    check_causal(model)
    check_greedy(model)


def check_causal(model: TextModel) -> None:
    """A byte and those after it change nothing before them."""
    text = prose(77)[:90]
    (before,), (after,) = model.log_probs([text]), model.log_probs([text[:50] + prose(78)[:40]])
    torch.testing.assert_close(after[:51], before[:51], rtol=0, atol=1e-6)
    assert not torch.equal(after[51:], before[51:])


def check_greedy(model: TextModel) -> None:
    """Greedy text is the most likely byte of the full forward pass at every position."""
    prompt = prose(79)[:40]
    written = b"".join(
        piece for piece in model.generate(prompt, max_bytes=24, temperature=0) if isinstance(piece, bytes)
    )
    (rows,) = model.log_probs([prompt + written])
    assert bytes(rows[len(prompt) :, :256].argmax(-1).tolist()) == written
