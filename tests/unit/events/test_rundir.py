"""The run directory: made once, continued by the same configuration, held by one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from neat.config import Config, load
from neat.errors import CheckpointError, ConfigError, Exit, LockedError, render
from neat.events.lock import is_held
from neat.events.rundir import HARMLESS_KEYS, RunPaths, open_run, read_config, read_record, replace_file

HOLD = """
import sys, pathlib
from neat.config import load
from neat.events.rundir import open_run
run = open_run(pathlib.Path(sys.argv[1]), load("tiny").config)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def config() -> Config:
    return load("tiny").config


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_run_says_what_it_is(tmp_path: Path, config: Config) -> None:
    with open_run(tmp_path / "deep" / "run", config) as run:
        assert run.is_new
        assert read_config(run.paths) == config
        assert run.paths.checkpoints.is_dir()
        run.record(data_digest="abc")
        record = read_record(run.paths)
    assert record["name"] == "tiny"
    assert record["data_digest"] == "abc"
    assert record["versions"]["python"] == sys.version.split()[0]  # type: ignore[index]


def test_the_same_configuration_goes_on(tmp_path: Path, config: Config) -> None:
    with open_run(tmp_path, config):
        pass
    before = contents(tmp_path)
    with open_run(tmp_path, config) as run:
        assert not run.is_new
        assert run.changed == []
    del before["run.lock"]
    assert before.items() <= contents(tmp_path).items()


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["train.max_steps=3"], ["train.max_steps", "train.budget"]),
        (["train.budget=6m"], ["train.budget"]),
        (["optim.lr=0.5", "data.lanes=8"], ["data.lanes", "optim.lr"]),
        (["data.sources=x"], ["data.sources", "data.validation", "data.validation_share"]),
        (["runtime.dtype=float32", "train.log_every=1"], ["runtime.dtype"]),
    ],
)
def test_another_configuration_is_refused_and_changes_nothing(
    tmp_path: Path, config: Config, overrides: list[str], keys: list[str]
) -> None:
    with open_run(tmp_path, config) as run:
        (run.paths.checkpoints / "step-00000001").mkdir()
    before = contents(tmp_path)
    with pytest.raises(ConfigError) as caught:
        open_run(tmp_path, load("tiny", overrides).config)
    assert [problem.message.split()[0] for problem in caught.value.problems] == keys
    assert "choose another --out" in render(caught.value)
    after = contents(tmp_path)
    assert {k: v for k, v in after.items() if k != "run.lock"} == {k: v for k, v in before.items() if k != "run.lock"}
    assert not is_held(tmp_path / "run.lock")


def test_a_run_without_a_checkpoint_takes_another_configuration(tmp_path: Path, config: Config) -> None:
    with open_run(tmp_path, config):
        pass
    other = load("tiny", ["data.sources=corrected.jsonl"]).config
    with open_run(tmp_path, other) as run:
        assert run.is_new
    assert read_config(RunPaths(tmp_path)) == other


def test_harmless_settings_may_change_and_are_kept(tmp_path: Path, config: Config) -> None:
    with open_run(tmp_path, config):
        pass
    other = load("tiny", ["train.log_every=3", "checkpoint.keep=5"]).config
    with open_run(tmp_path, other) as run:
        assert run.changed == [("train.log_every", 10, 3), ("checkpoint.keep", 2, 5)]
    assert read_config(RunPaths(tmp_path)) == other
    assert not HARMLESS_KEYS & {"train.max_steps", "train.max_bytes", "train.budget", "data.lanes", "seed"}


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path, config: Config) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="is not a run directory"):
        open_run(tmp_path, config)
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}
    with pytest.raises(ConfigError, match="is a file"):
        open_run(tmp_path / "thesis.tex", config)


def test_a_first_attempt_killed_early_is_begun_anew(tmp_path: Path, config: Config) -> None:
    for name in ("run.lock", "run.json", "config.toml.tmp"):
        (tmp_path / name).write_text("{")
    with open_run(tmp_path, config) as run:
        assert run.is_new


def test_a_damaged_configuration_is_reported_not_replaced(tmp_path: Path, config: Config) -> None:
    (tmp_path / "config.toml").write_text("[train\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        open_run(tmp_path, config)
    assert (tmp_path / "config.toml").read_text() == "[train\n"
    with pytest.raises(CheckpointError, match="is not a run directory"):
        read_config(RunPaths(tmp_path / "nowhere"))


def test_a_damaged_record_is_empty(tmp_path: Path) -> None:
    for text in ("", "[1]", "{", "[" * 100_000):
        (tmp_path / "run.json").write_text(text)
        assert read_record(RunPaths(tmp_path)) == {}


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path, config: Config) -> None:
    run = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"process {holder.pid} on ") as caught:
            open_run(run, config)
        assert caught.value.exit_code == Exit.LOCKED
        assert is_held(run / "run.lock")
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
    assert not is_held(run / "run.lock")
    with open_run(run, config) as mine:
        holder_now = json.loads(mine.paths.lock.read_bytes())
        assert holder_now["pid"] == os.getpid()


def test_a_replaced_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert contents(tmp_path) == {"file": b"two"}
