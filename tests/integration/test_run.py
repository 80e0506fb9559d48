"""A whole run through the Python interface: events, files, resuming, stopping, loading, scoring."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from support.runs import configure
from support.text import prose

import neat
from neat.config.load import load_text
from neat.errors import CheckpointError, ConfigError, DataError, Exit
from neat.evaluate.bpb import evaluate
from neat.events.reader import effective, read_events
from neat.events.schema import TYPES, Event
from neat.train import checkpoint, loop
from neat.train.loop import run
from neat.train.signals import StopRequest


def events(root: Path) -> list[Event]:
    """All events of a run."""
    return list(read_events(root / "events.jsonl"))


def losses(root: Path) -> list[tuple[int, object]]:
    """The course of the run: step and loss."""
    return [(event.step, event.data["train/loss"]) for event in effective(events(root)) if event.type == "step"]


def weights(root: Path, name: str = checkpoint.MODEL) -> dict[str, torch.Tensor]:
    """Weights of the newest checkpoint."""
    return safetensors.torch.load_file(checkpoint.find(root) / name)


@pytest.fixture(scope="module")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 30 steps."""
    root = tmp_path_factory.mktemp("runs") / "finished"
    assert run(configure(corpus), root) == Exit.DONE
    return root


METRICS = {
    "train/loss", "train/bpb", "train/bytes", "train/total_steps", "train/window", "train/skipped_steps", "optim/lr",
    "optim/grad_norm", "perf/bytes_per_s", "perf/step_s", "data/epoch", "data/wait_s", "data/padding",
    "patch/mean_length",
}  # fmt: skip


def test_events_tell_the_whole_course(finished: Path) -> None:
    found = events(finished)
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    assert {event.type for event in found} <= TYPES.keys()
    assert found[0].type == "run" and found[0].data["device"] == "cpu"
    steps = [event for event in found if event.type == "step"]
    assert [event.step for event in steps] == list(range(1, 31))
    assert all(set(event.data) >= METRICS for event in steps)
    assert [event.data["train/window"] for event in steps] == [32] * 6 + [64] * 24
    assert [event.step for event in found if event.type == "checkpoint"] == [1, 10, 20, 30]
    assert [event.type for event in found[-3:]] == ["eval", "sample", "end"]
    assert found[-1].data["exit_code"] == 0


def test_a_change_of_the_window_is_a_stage(finished: Path) -> None:
    stages = [(event.step, event.data["train/window"]) for event in events(finished) if event.type == "stage"]
    assert stages == [(1, 32), (7, 64)]


def test_it_learns(finished: Path) -> None:
    course = [float(loss) for _, loss in losses(finished)]  # type: ignore[arg-type]
    assert course[0] == pytest.approx(5.545, abs=0.01)
    assert course[-1] < 4.8


def test_the_final_evaluation_is_that_of_the_saved_checkpoint(finished: Path, corpus: Path) -> None:
    (event,) = (event for event in events(finished) if event.type == "eval")
    result = evaluate(finished, [str(corpus / "valid.jsonl")], device="cpu")
    assert result["bpb"] == pytest.approx(event.data["eval/bpb"], rel=1e-6)
    assert result["ngram_bpb"] == pytest.approx(event.data["eval/ngram_bpb"], rel=1e-9)
    texts = [json.loads(line)["text"].encode() for line in (corpus / "valid.jsonl").read_text().splitlines()]
    assert (result["bytes"], result["documents"], result["step"]) == (sum(map(len, texts)), 6, 30)


def test_a_loaded_model_gives_distributions_and_scores(finished: Path) -> None:
    model = neat.load(finished, device="cpu")
    document = prose(77)
    (log_probs,) = model.log_probs([document])
    assert log_probs.shape == (len(document), 256) and log_probs.dtype == torch.float32
    assert bool(((log_probs.double().exp().sum(-1) - 1).abs() < 1e-6).all())
    bits = -sum(float(row[byte]) for row, byte in zip(log_probs, document, strict=True)) / torch.log(torch.tensor(2.0))
    assert model.score([document]).bits == pytest.approx(float(bits), rel=1e-5)
    assert not model.network.training and not any(p.requires_grad for p in model.network.parameters())


def test_the_averaged_weights_are_loaded_unless_others_are_wanted(finished: Path) -> None:
    average, model = weights(finished, checkpoint.AVERAGE), weights(finished)
    assert not torch.equal(average["head.weight"], model["head.weight"])
    assert torch.equal(neat.load(finished, device="cpu").network.head.weight, average["head.weight"])
    assert torch.equal(neat.load(finished, device="cpu", average=False).network.head.weight, model["head.weight"])


def test_a_moved_checkpoint_is_enough(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint.find(finished), tmp_path / "elsewhere")
    documents = [prose(78)]
    assert neat.load(tmp_path / "elsewhere", device="cpu").score(documents) == neat.load(finished, device="cpu").score(
        documents
    )


def test_the_configuration_beside_the_weights_is_that_of_the_run(finished: Path, corpus: Path) -> None:
    text = (checkpoint.find(finished) / checkpoint.CONFIG).read_text()
    assert load_text(text, "config.toml").config == configure(corpus)


def test_a_damaged_newest_checkpoint_is_left_aside(finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    newest = checkpoint.find(root)
    (newest / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged"):
        neat.load(newest)
    assert checkpoint.find(root).name == "step-00000020"


class StopAfter(StopRequest):
    """A person who asks to stop when a step begins."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.asked, self.at = 0, step

    @property  # type: ignore[override]
    def requested(self) -> bool:
        """Asked once per step."""
        self.asked += 1
        return self.asked > self.at

    @requested.setter
    def requested(self, value: bool) -> None:
        """Ignored."""


def run_until(step: int, corpus: Path, root: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> int:
    """`run`, stopped after `step` steps of this attempt."""
    with monkeypatch.context() as patch:
        patch.setattr(loop, "StopRequest", lambda: StopAfter(step))
        return run(configure(corpus, **changes), root)


def same(left: Mapping[str, torch.Tensor], right: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of tensors are equal bit for bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_stopped_run_goes_on_bit_for_bit(
    finished: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "run"
    assert run_until(15, corpus, root, monkeypatch) == Exit.STOPPED == 75
    assert checkpoint.find(root).name == "step-00000015"
    assert (events(root)[-1].type, events(root)[-1].data["exit_code"]) == ("end", 75)
    # What does not decide the course may change.
    assert run(configure(corpus, train__log_every=1, checkpoint__every_steps=7, data__prefetch=1), root) == 0
    assert losses(root) == losses(finished)
    for name in (checkpoint.MODEL, checkpoint.AVERAGE, checkpoint.OPTIMIZER):
        assert same(weights(root, name), weights(finished, name))
    resumes = [event.step for event in events(root) if event.type == "resume"]
    assert resumes == [15]


def test_evaluating_on_the_way_changes_nothing(finished: Path, corpus: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    assert run(configure(corpus, train__eval_every=7, train__sample_bytes=0, train__eval_bytes=500), root) == 0
    assert losses(root) == losses(finished)
    assert same(weights(root), weights(finished))
    evaluations = [event for event in events(root) if event.type == "eval"]
    assert [event.step for event in evaluations] == [7, 14, 21, 28, 30]
    assert {event.data["eval/bytes"] for event in evaluations} == {500}


def test_a_finished_run_is_not_trained_further(finished: Path, corpus: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    before = losses(root)
    assert run(configure(corpus), root) == Exit.DONE
    assert losses(root) == before
    assert same(weights(root), weights(finished))


def test_a_signal_ends_the_run_after_the_step_in_hand(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    step = loop.train_step

    def interrupt(trainer: Any, batch: Any, scored: int) -> Any:
        if trainer.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer, batch, scored)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(loop, "train_step", interrupt)
    assert run(configure(corpus), tmp_path / "run") == Exit.STOPPED
    assert checkpoint.find(tmp_path / "run").name == "step-00000005"
    assert signal.getsignal(signal.SIGTERM) is before
    said = capfd.readouterr()
    assert "SIGTERM: finishing this step" in said.err and "run the same command again to go on" in said.err
    assert said.out == ""


def test_text_that_is_trained_on_cannot_validate(corpus: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed.jsonl"
    known = (corpus / "train.jsonl").read_text().splitlines()[3]
    mixed.write_text((corpus / "valid.jsonl").read_text() + known + "\n")
    with pytest.raises(DataError, match="1 of the validation documents also stand in"):
        run(configure(corpus, data__validation=[str(mixed)]), tmp_path / "run")


def test_a_held_out_share_is_not_trained_on(corpus: Path, tmp_path: Path) -> None:
    config = configure(corpus, data__validation=[], data__validation_share=0.2)
    assert run(config, tmp_path / "run") == 0
    (event,) = (event for event in events(tmp_path / "run") if event.type == "eval")
    assert 5 <= event.data["eval/documents"] <= 30  # type: ignore[operator]


def test_another_configuration_is_refused_and_nothing_overwritten(finished: Path, corpus: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished, root)

    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != "run.lock"}

    before = content()
    with pytest.raises(ConfigError) as caught:
        run(configure(corpus, network__ffn_width=24, optim__lr=0.5), root)
    text = str(caught.value)
    assert "network.ffn_width is 16 in the existing run and 24 here" in text and "optim.lr is 0.01" in text
    assert content() == before


def test_a_run_that_never_began_does_not_hold_its_name(corpus: Path, tmp_path: Path) -> None:
    """A wrong path in the first attempt: corrected, the same command with the same --out must work."""
    with pytest.raises(DataError):
        run(configure(corpus, data__sources=[str(tmp_path / "missing.jsonl")]), tmp_path / "run")
    assert run(configure(corpus, train__max_steps=2), tmp_path / "run") == 0


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew(
    finished: Path, corpus: Path, tmp_path: Path
) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    for folder in (root / "checkpoints").iterdir():
        (folder / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match="all are damaged"):
        run(configure(corpus), root)
    kept = sorted(folder.name for folder in (root / "checkpoints").iterdir())
    assert kept == ["step-00000020", "step-00000030"]


def test_a_file_without_text_is_a_data_error(finished: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text('{"text": ""}\n')
    with pytest.raises(DataError):
        evaluate(finished, [str(empty)], device="cpu")
