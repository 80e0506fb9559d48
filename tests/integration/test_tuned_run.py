"""`train.tune`: events, what goes on after a stop or a kill, and what the run is left with."""

from __future__ import annotations

import json
import shutil
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from support.attempts import fork_server, start
from support.runs import configure

from neat.config.compare import value_of
from neat.config.load import load_file
from neat.config.schema import Config
from neat.config.show import dump_toml
from neat.errors import CheckpointError, ConfigError, Exit
from neat.events.reader import effective, read_events
from neat.events.schema import Event
from neat.train import checkpoint, loop
from neat.train.loop import run
from neat.train.signals import StopRequest

STEPS = 200


def tuned(corpus: Path, **changes: Any) -> Config:
    """A run that tunes itself from learning rates that are too low."""
    settings: dict[str, Any] = {
        "train__max_steps": STEPS, "train__tune": True, "train__tune_share": 0.4, "train__sample_bytes": 0,
        "optim__lr": 0.002, "optim__adamw_lr": 0.001, "optim__hash_lr": 0.001, "checkpoint__every_steps": 50,
    }  # fmt: skip
    return configure(corpus, **(settings | changes))


def events(root: Path) -> list[Event]:
    path = root / "events.jsonl"
    return list(read_events(path)) if path.exists() else []


def losses(root: Path) -> list[tuple[int, object]]:
    return [(event.step, event.data["train/loss"]) for event in effective(events(root)) if event.type == "step"]


def probes(root: Path) -> list[Event]:
    return [event for event in events(root) if event.type == "probe"]


def choice(root: Path) -> dict[str, Any]:
    """The record of the choice without the clock."""
    table = tomllib.loads((root / "tuned.toml").read_text())
    return {key: value for key, value in table.items() if key != "seconds"}


def same(left: Path, right: Path) -> bool:
    """Whether two runs ended with equal weights, averages and optimizer state."""
    for name in (checkpoint.MODEL, checkpoint.AVERAGE, checkpoint.OPTIMIZER):
        mine, other = (safetensors.torch.load_file(checkpoint.find(root) / name) for root in (left, right))
        if mine.keys() != other.keys() or not all(torch.equal(mine[key], other[key]) for key in mine):
            return False
    return True


@pytest.fixture(scope="module")
def finished(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tuned") / "run"
    assert run(tuned(corpus), root) == Exit.DONE
    return root


def test_events_tell_of_every_branch_and_of_the_choice(finished: Path) -> None:
    kinds = [event.type for event in events(finished) if event.type != "heartbeat"]
    found = probes(finished)
    assert kinds[0] == "run" and kinds[1 : 1 + len(found)] == ["probe"] * len(found)
    assert kinds[1 + len(found)] == "budget"
    keys = {"purpose", "name", "changes", "steps", "loss", "baseline", "outcome", "reason"}
    assert all(set(event.data) >= keys and event.data["purpose"] == "tune" for event in found)
    assert {event.step for event in found} == {0}, "steps of branches are not steps of the run"
    assert found[0].data["outcome"] == "start" and found[-1].data["outcome"] == "chosen"
    record = choice(finished)
    assert found[-1].data["changes"] == record["values"] != {}
    assert record["probes"] == len(found) - 1


def test_the_run_is_shorter_by_what_tuning_cost_and_shows_its_settings(finished: Path, corpus: Path) -> None:
    record = choice(finished)
    batch = record["values"].get("train.batch_bytes", 256)
    total = -(-(STEPS * 256 - record["positions"]) // batch)
    steps = [event for event in events(finished) if event.type == "step"]
    assert steps[-1].step == steps[0].data["train/total_steps"] == total < STEPS
    assert record["positions"] <= 0.4 * STEPS * 256
    peak = max(float(event.data["optim/lr"]) for event in steps)  # type: ignore[arg-type]
    assert peak == pytest.approx(record["values"]["optim.lr"])
    auxiliary = max(float(event.data["optim/adamw_lr"]) for event in steps)  # type: ignore[arg-type]
    assert auxiliary == pytest.approx(record["values"]["optim.adamw_lr"])
    assert {event.data["train/batch_bytes"] for event in steps} == {batch}


def test_the_choice_stands_in_the_checkpoint_and_beside_the_configuration(finished: Path, corpus: Path) -> None:
    folder = checkpoint.find(finished)
    record = choice(finished)
    assert checkpoint.read_state(folder)["tuned"]["values"] == record["values"]
    in_force = load_file(folder / checkpoint.CONFIG).config
    assert all(value_of(in_force, key) == value for key, value in record["values"].items())
    # The run's own configuration is the one that its command repeats.
    assert load_file(finished / "config.toml").config == tuned(corpus)


class StopAfter(StopRequest):
    """A person who asks to stop after so many looks at the request: branches and training look once a step."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.seen, self.looks = 0, looks

    @property  # type: ignore[override]
    def requested(self) -> bool:
        self.seen += 1
        return self.seen > self.looks

    @requested.setter
    def requested(self, value: bool) -> None:
        """Ignored."""


def run_until(looks: int, config: Config, root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patch:
        patch.setattr(loop, "StopRequest", lambda: StopAfter(looks))
        return run(config, root)


def test_a_run_stopped_while_tuning_tunes_again_and_is_the_same(
    finished: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "run"
    assert run_until(30, tuned(corpus), root, monkeypatch) == Exit.STOPPED == 75
    assert not (root / "tuned.toml").exists() and checkpoint.steps(root / "checkpoints") == []
    assert events(root)[-1].data["exit_code"] == 75
    # Now stopped in training: the choice is kept.
    looks = sum(int(str(event.data["steps"])) for event in probes(finished)[:-1]) + 60
    assert run_until(looks, tuned(corpus), root, monkeypatch) == Exit.STOPPED
    assert checkpoint.steps(root / "checkpoints")
    told = len(probes(root))
    assert choice(root) == choice(finished)
    assert run(tuned(corpus), root) == Exit.DONE
    assert len(probes(root)) == told, "a run that goes on does not tune again"
    assert losses(root) == losses(finished)
    assert same(root, finished)


def test_a_choice_without_a_checkpoint_is_taken_up(finished: Path, corpus: Path, tmp_path: Path) -> None:
    """Killed between the end of tuning and the first checkpoint."""
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    shutil.rmtree(root / "checkpoints")
    (root / "events.jsonl").unlink()
    assert run(tuned(corpus), root) == Exit.DONE
    assert [event.data["outcome"] for event in probes(root)] == ["chosen"]
    assert losses(root) == losses(finished) and same(root, finished)


def test_a_choice_of_another_configuration_is_not_taken_up(finished: Path, corpus: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    shutil.rmtree(root / "checkpoints")
    assert run(tuned(corpus, seed=8), root) == Exit.DONE
    assert choice(root)["config"] != choice(finished)["config"]


def test_a_checkpoint_without_the_file_is_enough(finished: Path, corpus: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    (root / "tuned.toml").unlink()
    shutil.rmtree(checkpoint.find(root))
    assert run(tuned(corpus), root) == Exit.DONE
    assert losses(root) == losses(finished) and same(root, finished)


@pytest.mark.parametrize("text", ["", "config = 3\n", "config = [", "\x00"])
def test_a_damaged_file_is_said_to_be(finished: Path, corpus: Path, tmp_path: Path, text: str) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    shutil.rmtree(root / "checkpoints")
    whole = (root / "tuned.toml").read_text()
    damaged = text if text != "config = 3\n" else whole.replace("positions", "position")
    (root / "tuned.toml").write_text(damaged)
    with pytest.raises(CheckpointError, match=r"tuned.toml` is damaged") as caught:
        run(tuned(corpus), root)
    assert caught.value.hint is not None and "delete it" in caught.value.hint


def test_a_run_too_short_to_tune_says_so(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tuning may take 10 steps"):
        run(tuned(corpus, train__tune_share=0.05), tmp_path / "run")
    (end,) = (event for event in events(tmp_path / "run") if event.type == "end")
    assert end.data["exit_code"] == 2


@pytest.mark.slow
def test_a_time_budget_goes_on_counting(corpus: Path, tmp_path: Path) -> None:
    config = tuned(corpus, train__max_steps=0, train__budget="24s", train__tune_share=0.5)
    began = time.monotonic()
    assert run(config, tmp_path / "run") == Exit.DONE
    record = tomllib.loads((tmp_path / "run" / "tuned.toml").read_text())
    spent = next(event.data["spent_s"] for event in events(tmp_path / "run") if event.type == "budget")
    assert record["seconds"] <= float(spent)  # type: ignore[arg-type]
    assert time.monotonic() - began >= record["seconds"]


@pytest.mark.faults
def test_a_run_killed_while_tuning_is_the_one_that_nobody_touched(finished: Path, corpus: Path, tmp_path: Path) -> None:
    config, root = tmp_path / "run.toml", tmp_path / "run"
    config.write_text(dump_toml(tuned(corpus)), encoding="utf-8")
    processes = fork_server()
    for wanted in (1, 3):
        attempt, before, until = start(processes, str(config), str(root)), len(probes(root)), time.monotonic() + 120
        while len(probes(root)) < before + wanted:
            assert attempt.is_alive() and time.monotonic() < until
            time.sleep(0.002)
        attempt.kill()
        attempt.join()
        assert not (root / "tuned.toml").exists()
    last = start(processes, str(config), str(root))
    last.join(240)
    assert last.exitcode == 0
    assert choice(root) == choice(finished)
    assert losses(root) == losses(finished) and same(root, finished)
    assert json.loads((root / "run.json").read_text())["name"] == "run"
