"""Runs that begin with the weights of other runs: what they start from, what they tell, how they go on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from support.runs import configure, write_corpus

from neat.config.load import load
from neat.config.schema import Config
from neat.errors import CheckpointError, ConfigError, Exit
from neat.events.reader import read_events
from neat.events.schema import Event
from neat.train import checkpoint, growth
from neat.train.build import build
from neat.train.loop import run
from neat.train.state import Trainer

LARGER: dict[str, Any] = {
    "network__width": 32, "network__heads": 4, "network__kv_heads": 2, "network__layers": 2, "network__ffn_width": 40,
    "network__local_width": 16, "network__local_heads": 4, "network__hash_rows": 128,
}  # fmt: skip


@pytest.fixture(scope="module")
def source(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 30 steps."""
    root = tmp_path_factory.mktemp("source") / "small"
    assert run(configure(corpus, optim__hash_lr=0.05), root) == Exit.DONE
    return root


def from_source(corpus: Path, source: Path, **changes: object) -> Config:
    return configure(corpus, **{"init__from": str(source), "train__max_steps": 10} | changes)


def events(root: Path, kind: str) -> list[Event]:
    return [event for event in read_events(root / "events.jsonl") if event.type == kind]


def weights(root: Path, name: str = checkpoint.MODEL) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(checkpoint.find(root) / name)


def grow(config: Config) -> tuple[Trainer, dict[str, Any]]:
    """A trainer before its first step, and what is told of its weights."""
    trainer = build(config)
    found = growth.find(config, Path("nowhere"))
    assert found is not None
    return trainer, growth.grow(trainer, found)


def files(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_run_of_the_same_shape_begins_with_the_weights(corpus: Path, source: Path) -> None:
    for choice, name in (("average", checkpoint.AVERAGE), ("raw", checkpoint.MODEL)):
        config = from_source(corpus, source, init__method="exact", init__weights=choice)
        trainer, facts = grow(config)
        expected = weights(source, name)
        assert all(torch.equal(tensor, expected[name]) for name, tensor in trainer.model.state_dict().items())
        assert facts["logits/max_delta"] == 0.0
        assert facts["loss/before"] == facts["loss/after"]


@pytest.mark.parametrize("method", ["preserve", "stack", "copy"])
def test_the_event_says_what_grew_and_what_it_changed(corpus: Path, source: Path, tmp_path: Path, method: str) -> None:
    before = files(source)
    root = tmp_path / "grown"
    assert run(from_source(corpus, source, **LARGER, init__method=method), root) == Exit.DONE
    assert files(source) == before
    (event,) = events(root, "growth")
    assert event.step == 0
    told = event.data
    assert (told["from"], told["checkpoint"], told["source_step"]) == (str(source), "step-00000030", 30)
    assert (told["method"], told["weights"], told["optimizer"]) == (method, "averaged", "reset")
    assert told["digest"] == checkpoint.file_digest(source / "checkpoints" / "step-00000030" / checkpoint.AVERAGE)
    assert told["parameters/before"] == sum(tensor.numel() for tensor in weights(source).values())
    assert told["parameters/after"] == events(root, "run")[0].data["parameters"]
    # One layer repeated is another function; one that writes nothing is not.
    assert (told["logits/max_delta"] < 1e-4) == (method == "preserve")
    assert told["notes"] == []
    record = json.loads((root / "run.json").read_text())
    assert record["growth"] == dict(told)
    assert events(root, "step")[0].data["train/loss"] < 5.0


def test_a_grown_run_goes_on_without_its_source(
    corpus: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts, lent = tmp_path / "whole", tmp_path / "parts", tmp_path / "lent"
    shutil.copytree(source, lent)
    config = from_source(corpus, lent, **LARGER)
    assert run(config, whole) == Exit.DONE

    taken = 0
    real = growth.grow

    def counted(*arguments: Any) -> dict[str, object]:
        nonlocal taken
        taken += 1
        return real(*arguments)

    monkeypatch.setattr(growth, "grow", counted)
    half = from_source(corpus, lent, **LARGER, checkpoint__every_steps=5)
    assert run(half, parts) == Exit.DONE
    shutil.rmtree(parts / "checkpoints" / "step-00000010")
    shutil.rmtree(lent)
    assert run(half, parts) == Exit.DONE
    assert taken == 1
    assert len(events(parts, "growth")) == 1
    assert events(parts, "resume")[0].step == 5
    ours, theirs = weights(parts), weights(whole)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_the_source_decides_the_course_of_a_run(corpus: Path, source: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    assert run(from_source(corpus, source), root) == Exit.DONE
    with pytest.raises(ConfigError, match=r'init\.from is ".*" in the existing run and "" here'):
        run(configure(corpus, train__max_steps=10), root)


def test_optimizers_remember_what_they_are_asked_to(corpus: Path, source: Path) -> None:
    plain = from_source(corpus, source, init__weights="raw")
    trainer, _ = grow(plain)
    assert all(not tensor.count_nonzero() for tensor in trainer.optimizers.state().values())
    trainer, _ = grow(from_source(corpus, source, init__weights="raw", init__optimizer="map"))
    saved = weights(source, checkpoint.OPTIMIZER)
    state = trainer.optimizers.state()
    assert all(torch.equal(tensor, saved[name]) for name, tensor in state.items())
    assert trainer.step == 0
    trainer, _ = grow(from_source(corpus, source, **LARGER, init__weights="raw", init__optimizer="map"))
    assert float(trainer.optimizers.state()["adamw.step.head.weight"]) == 30
    momentum = trainer.optimizers.state()["muon.momentum.latent.layers.0.feed_forward.down.weight"]
    assert momentum.count_nonzero() == momentum.numel()
    with pytest.raises(ConfigError, match=r"init\.optimizer is map, but the optimizers of the source remember no"):
        grow(from_source(corpus, source, init__weights="raw", init__optimizer="map", optim__name="adamw"))


def test_other_text_and_another_function_are_told(corpus: Path, source: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    (tmp_path / "train.jsonl").write_text((corpus / "train.jsonl").read_text() + '{"text": "another one"}\n')
    config = load(None, [f"init.from={source}", "network.window=5", *_overrides(corpus, tmp_path)]).config
    _, facts = grow(config)
    about = ["n-gram model", "patches follow another", "because of network.window"]
    assert [any(words in note for note in facts["notes"]) for words in about] == [True] * 3
    assert facts["logits/max_delta"] > 0


def _overrides(corpus: Path, other: Path) -> list[str]:
    from support.runs import overrides

    return [*overrides(corpus), f'data.sources=["{other / "train.jsonl"}"]', "patcher.mean_length=4.0"]


def test_raw_weights_stand_in_for_a_missing_average(corpus: Path, tmp_path: Path) -> None:
    run(configure(corpus, optim__ema_decay=0.0, train__max_steps=2), tmp_path / "plain")
    _, facts = grow(from_source(corpus, tmp_path / "plain"))
    assert facts["weights"] == "raw"
    assert facts["notes"] == ["the source kept no average: its raw weights were taken"]


def test_a_source_that_is_none_is_refused(corpus: Path, source: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"there is no `.*missing` \(from init\.from\)") as raised:
        run(from_source(corpus, tmp_path / "missing"), tmp_path / "run")
    assert raised.value.hint
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        run(from_source(corpus, tmp_path / "run"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"network\.width is 8, 16 in the source: .* \(growing from") as refused:
        run(from_source(corpus, source, network__width=8, network__heads=1), tmp_path / "run")
    assert refused.value.hint == "set network.width=16 or more"
    assert run(from_source(corpus, source), tmp_path / "run") == Exit.DONE


def test_a_damaged_source_is_refused(corpus: Path, source: Path, tmp_path: Path) -> None:
    shutil.copytree(source, tmp_path / "damaged")
    for folder in (tmp_path / "damaged" / "checkpoints").iterdir():
        (folder / checkpoint.MODEL).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"is not what was written"):
        run(from_source(corpus, tmp_path / "damaged"), tmp_path / "run")
