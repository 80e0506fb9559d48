"""From a running training to a checkpoint and back, and checkpoints that belong to something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.runs import configure
from support.text import prose

from neat.errors import CheckpointError, NeatError
from neat.model.outputs import Outputs
from neat.train import checkpoint
from neat.train.build import build
from neat.train.loading import load_all
from neat.train.loop import train_step
from neat.train.report import evaluation_weights
from neat.train.state import Trainer, capture, restore
from neat.train.storage import Storage


def steps(trainer: Trainer, count: int) -> list[float]:
    """Losses of the next steps."""
    return [float(train_step(trainer, *trainer.next_batch())[0]) for _ in range(count)]


def save(trainer: Trainer, root: Path) -> Path:
    """The checkpoint of the present moment, on disk."""
    return checkpoint.write(root, trainer.step, capture(trainer), Storage())


OWN = {"optim__ema_decay": 0.0, "predict__micro": False, "predict__jumps": "off"}
OPTIONS: dict[str, dict[str, Any]] = {
    "muon": {},
    "adamw": {"optim__name": "adamw", "optim__schedule": "cosine"},
    "mugrokfast": {"optim__name": "mugrokfast", "optim__grokfast_lambda": 0.5, "optim__lr_scale": [["latent", 0.5]]},
    "schedule free": {"optim__name": "schedule_free", "optim__schedule": "constant", **OWN},
    "gpa": {"optim__name": "gpa", **OWN},
    "snoo": {"optim__outer": "snoo", "optim__outer_every": 3},
    "no average": {"optim__ema_decay": 0.0},
    "rare average": {"optim__ema_every": 3},
    "flat": {"network__patches": False},
    "patches change later": {"train__patch_curriculum": [[0.25, 6.0]]},
    "patches have changed": {"train__patch_curriculum": [[0.1, 6.0], [0.25, 5.0]]},
    "halting": {
        "recursion__depth": 3,
        "recursion__halting": True,
        "recursion__halt_threshold": 0.05,
        "recursion__calibration_decay": 0.5,
    },
    "looped": {"network__layers": 3, "network__loop_middle": 0.2},
    "clipped, in parts": {"optim__clip_norm": 0.1, "train__micro_batch_bytes": 64},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_restored_run_goes_on_bit_for_bit(corpus: Path, tmp_path: Path, name: str) -> None:
    config = configure(corpus, **OPTIONS[name])
    first = build(config)
    steps(first, 5)
    folder = save(first, tmp_path)
    expected = steps(first, 5)

    second = build(config)
    # Nothing of the second run's own past may matter.
    steps(second, 2)
    restore(second, folder)
    assert (second.step, second.last_saved) == (5, 5)
    assert steps(second, 5) == expected
    one, other = capture(first), capture(second)
    for left, right in ((one.model, other.model), (one.average, other.average), (one.optimizer, other.optimizer)):
        assert left.keys() == right.keys()
        assert all(torch.equal(left[key], right[key]) for key in left)
    ignored = {"horizon"}  # holds the seconds spent
    assert {k: v for k, v in one.state.items() if k not in ignored} == {
        k: v for k, v in other.state.items() if k not in ignored
    }


def test_a_checkpoint_from_before_the_first_good_update_can_be_restored(corpus: Path, tmp_path: Path) -> None:
    config = configure(corpus)
    first = build(config)
    first.forward = lambda batch: Outputs(first.model(batch) * torch.nan)
    train_step(first, *first.next_batch())
    assert first.guard.skipped == 1
    second = build(config)
    restore(second, save(first, tmp_path))
    first.forward = first.model.outputs
    assert second.guard.skipped == 1
    assert steps(second, 2) == steps(first, 2)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"network__layers": 2}, "the parameters differ: latent.layers.1"),
        ({"network__smear": False}, "the parameters differ: embedding.smear"),
        ({"network__ffn_width": 24}, r"gate_up.weight is \[32, 16\], the model has \[48, 16\]"),
        ({"optim__name": "adamw"}, "the optimizer state differs in"),
        ({"ngram__order": 2}, "n-gram model differs"),
    ],
)
def test_another_configuration_is_refused(corpus: Path, tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    first = build(configure(corpus))
    steps(first, 1)
    with pytest.raises(CheckpointError, match=what):
        restore(build(configure(corpus, **changes)), save(first, tmp_path))


def test_other_text_is_refused(corpus: Path, tmp_path: Path) -> None:
    first = build(configure(corpus))
    steps(first, 1)
    folder = save(first, tmp_path / "checkpoints")
    other = tmp_path / "other.jsonl"
    lines = (corpus / "train.jsonl").read_text().splitlines()
    other.write_text("\n".join([*lines, json.dumps({"text": prose(500).decode()})]) + "\n")
    with pytest.raises(CheckpointError, match="n-gram model differs"):
        restore(build(configure(corpus, data__sources=[str(other)])), folder)


def test_another_order_of_the_same_text_is_refused(corpus: Path, tmp_path: Path) -> None:
    """The same documents, so the same n-gram model, but the position in them means something else."""
    first = build(configure(corpus))
    steps(first, 1)
    folder = save(first, tmp_path / "checkpoints")
    with pytest.raises(NeatError, match="lanes"):
        restore(build(configure(corpus, data__lanes=4)), folder)


def test_a_state_of_another_version_is_refused(corpus: Path, tmp_path: Path) -> None:
    first = build(configure(corpus))
    steps(first, 1)
    contents = capture(first)
    contents.state["version"] = 99
    folder = checkpoint.write(tmp_path, 1, contents, Storage())
    with pytest.raises(CheckpointError, match="version 99, this version reads 3"):
        restore(first, folder)


@pytest.mark.parametrize("name", ["schedule free", "gpa"])
def test_an_averaging_optimizer_is_evaluated_at_its_average(corpus: Path, tmp_path: Path, name: str) -> None:
    trainer = build(configure(corpus, **OPTIONS[name]))
    steps(trainer, 4)
    averaging = trainer.optimizers.averaged
    assert averaging is not None
    y = {key: tensor.clone() for key, tensor in trainer.model.state_dict().items()}
    x = averaging.average()
    with evaluation_weights(trainer):
        assert all(torch.equal(trainer.model.state_dict()[key], x[key]) for key in x)
        assert not torch.equal(x["head.weight"], y["head.weight"])
    assert all(torch.equal(trainer.model.state_dict()[key], y[key]) for key in y)
    loaded = load_all(save(trainer, tmp_path), device="cpu")
    weights = loaded.model.network.state_dict()
    assert all(torch.equal(weights[key], x[key]) for key in x)
    assert torch.equal(weights["embedding.hash.weight"], y["embedding.hash.weight"])


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_settings_without_effect_change_no_bit(corpus: Path, name: str) -> None:
    """Rates that are spelt out and factors of one give the weights that the defaults give."""
    neutral = {
        "optim__embedding_lr": 5e-3, "optim__head_lr": 5e-3, "optim__momentum_start": 0.85,
        "optim__lr_scale": [["latent", 1.0], ["local", 1.0], ["embedding", 1.0]], "train__patch_curriculum": [],
    }  # fmt: skip
    one, other = (build(configure(corpus, optim__name=name, **changes)) for changes in ({}, neutral))
    assert steps(one, 8) == steps(other, 8)
    pairs = zip(one.model.parameters(), other.model.parameters(), strict=True)
    assert all(torch.equal(left, right) for left, right in pairs)
