"""Uploads while a run trains: which checkpoints go, that training does not notice, and how it ends."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from fakehub.api import TOKEN
from fakehub.server import FakeHub
from support.hub import REPO
from support.runs import configure

import neat
from neat.errors import Exit
from neat.events.spool import Spool
from neat.model.text.model import Score, TextModel
from neat.train import checkpoint, loop
from neat.train.uploads import Worker

pytestmark = pytest.mark.parametrize("storage", ["lfs"], indirect=True)


def train(corpus: Path, run: Path, **changes: Any) -> list[dict[str, Any]]:
    """The events of a run of 30 steps with three checkpoints and an evaluation each."""
    settings = {"hub__repo": REPO, "hub__read_s": 2.0, "train__eval_every": 10, "optim__ema_decay": 0.5} | changes
    assert loop.run(configure(corpus, **settings), run) == 0
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def uploads(events: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(event["state"], event["checkpoint"]) for event in events if event["type"] == "upload"]


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes jobs out of the queue."""
    monkeypatch.setattr(Worker, "ensure", lambda self: None)


def test_every_checkpoint_goes_up_beside_training(hub: FakeHub, corpus: Path, tmp_path: Path) -> None:
    events = train(corpus, tmp_path / "run", hub__upload="every", hub__final_wait_s=60.0)
    told = uploads(events)
    for step in (1, 10, 20, 30):
        assert [state for state, of in told if of == step] == ["queued", "started", "done"]
    assert [title.split()[-1] for title in hub.titles(REPO)] == ["30", "20", "10", "1", "commit"]
    assert hub.repos[REPO].tags.keys() == {f"step-{step:08d}" for step in (1, 10, 20, 30)}
    types = [event["type"] for event in events]
    assert types.index("end") > max(i for i, kind in enumerate(types) if kind == "upload")
    left, right = neat.from_pretrained(REPO), neat.load(tmp_path / "run")
    assert left.score([b"The harbour"]) == right.score([b"The harbour"])
    assert Spool(tmp_path / "run").jobs() == []


def test_the_card_of_the_last_one_has_the_last_evaluation(hub: FakeHub, corpus: Path, tmp_path: Path) -> None:
    events = train(corpus, tmp_path / "run", hub__upload="final", hub__final_wait_s=60.0)
    last = [event for event in events if event["type"] == "eval"][-1]
    repo = hub.repos[REPO]
    card = repo.commits[repo.branches["main"]].files["README.md"].data
    assert card is not None
    assert f"| bits per byte, held-out text | {last['eval/bpb']:.4f} |" in card.decode()
    assert [title.split()[-1] for title in hub.titles(REPO)] == ["30", "commit"]


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize(
    ("policy", "expected"), [("off", []), ("final", [30]), ("every", [1, 10, 20, 30]), ("best", [10, 20, 30])]
)
def test_the_policy_says_which_checkpoints_are_queued(
    hub: FakeHub, corpus: Path, tmp_path: Path, policy: str, expected: list[int]
) -> None:
    train(corpus, tmp_path / "run", hub__upload=policy, hub__final_wait_s=0.0)
    assert [job.order.step for job in Spool(tmp_path / "run").jobs()] == expected


@pytest.mark.usefixtures("idle")
def test_only_a_better_checkpoint_is_a_best_one(
    hub: FakeHub, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also over attempts: the best one of an earlier attempt counts."""
    scores = iter([3000.0, 4000.0, 2500.0, 2600.0, 2400.0])
    monkeypatch.setattr(TextModel, "score", lambda self, documents: Score(next(scores), 1000, 1))
    changes = {"hub__upload": "best", "hub__final_wait_s": 0.0}
    train(corpus, tmp_path / "run", **changes)
    assert [job.order.step for job in Spool(tmp_path / "run").jobs()] == [10, 30]
    for job in Spool(tmp_path / "run").jobs():
        job.remove()
    train(corpus, tmp_path / "run", **changes)  # evaluates the finished run again: 2.6, worse than 2.5
    assert Spool(tmp_path / "run").jobs() == []
    train(corpus, tmp_path / "run", **changes)
    assert [job.order.step for job in Spool(tmp_path / "run").jobs()] == [30]


@pytest.mark.usefixtures("idle")
def test_the_spool_keeps_what_retention_deletes_but_not_without_limit(
    hub: FakeHub, corpus: Path, tmp_path: Path
) -> None:
    changes = {"checkpoint__every_steps": 3, "hub__upload": "every", "hub__final_wait_s": 0.0, "hub__max_queued": 3}
    events = train(corpus, tmp_path / "run", **changes)
    spool = Spool(tmp_path / "run")
    assert checkpoint.steps(tmp_path / "run" / "checkpoints") == [27, 30]
    assert [job.order.step for job in spool.jobs()] == [24, 27, 30]
    assert all(checkpoint.verify(job.checkpoint) is None for job in spool.jobs())
    given_up = [event for event in events if event["type"] == "upload" and event["state"] == "failed"]
    assert [event["checkpoint"] for event in given_up] == [1, 3, 6, 9, 10, 12, 15, 18, 20, 21][: len(given_up)]
    assert all("max_queued" in event["reason"] for event in given_up)


def test_a_full_disk_in_the_spool_is_an_event_and_nothing_else(
    hub: FakeHub, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("neat.events.spool.os.link", full)
    events = train(corpus, tmp_path / "run", hub__upload="every")
    failed = [event for event in events if event["type"] == "upload"]
    assert {(event["state"], "No space left" in event["reason"]) for event in failed} == {("failed", True)}
    assert hub.repos == {}


@pytest.mark.timed
def test_training_computes_the_same_with_a_hub_that_never_answers(hub: FakeHub, corpus: Path, tmp_path: Path) -> None:
    """The wait at the end is the only trace; what is left goes up later."""
    hub.faults.plan("stall", ".*", times=10_000, seconds=60.0)
    train(corpus, tmp_path / "alone")
    events = train(corpus, tmp_path / "run", hub__upload="every", hub__final_wait_s=1.0, hub__max_queued=10)
    weights = [tmp_path / name / "checkpoints" / "step-00000030" / "model.safetensors" for name in ("alone", "run")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    begun = next(event["time"] for event in events if event["type"] == "sample")
    (end,) = [event for event in events if event["type"] == "end"]
    assert end["reason"] == "finished"
    assert end["time"] - begun <= 1.0 + 1.0
    assert [job.order.step for job in Spool(tmp_path / "run").jobs()] == [1, 10, 20, 30]


def test_a_later_attempt_goes_on_with_the_queue(
    hub: FakeHub, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Worker, "ensure", lambda self: None)
        train(corpus, tmp_path / "run", hub__upload="final", hub__final_wait_s=0.0)
    events = train(corpus, tmp_path / "run", hub__upload="final", hub__final_wait_s=60.0)
    assert uploads(events)[-1] == ("done", 30)
    assert [title.split()[-1] for title in hub.titles(REPO)] == ["30", "commit"]


def test_the_token_is_nowhere(
    hub: FakeHub, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in what a process is called with, not in any file of the run, not in what people see, not on the hub."""
    called: list[list[str]] = []
    ensure = Worker.ensure

    def listening(self: Worker) -> None:
        ensure(self)
        if self._process is not None and not called:
            called.append(Path(f"/proc/{self._process.pid}/cmdline").read_text().split("\0"))

    monkeypatch.setattr(Worker, "ensure", listening)
    hub.faults.plan("status", "POST .*/commit/", times=1)
    hub.faults.plan("status", "POST .*/tag/", times=1, code=500)
    train(corpus, tmp_path / "run", hub__upload="final", hub__final_wait_s=60.0)
    assert called
    secret = TOKEN.encode()
    assert not [word for word in called[0] if TOKEN in word]
    searched = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(searched) > 10
    assert not [path for path in searched if secret in path.read_bytes()]
    output = capfd.readouterr()
    assert TOKEN not in output.out + output.err
    files = hub.repos[REPO].commits[hub.repos[REPO].branches["main"]].files
    assert not [name for name, blob in files.items() if blob.data and secret in blob.data]
    assert os.environ["HF_TOKEN"] == TOKEN


def test_what_was_not_asked_for_does_not_happen(hub: FakeHub, corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "run", hub__upload="off")
    assert hub.requests == []
    assert not (tmp_path / "run" / "uploads").exists()


@pytest.mark.usefixtures("idle")
def test_a_run_that_is_stopped_leaves_its_checkpoint_in_the_queue(
    hub: FakeHub, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Any, trainer: Any, progress: Any) -> None:
        if trainer.step == 15:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("neat.train.report.Reporter.step", stop)
    config = configure(corpus, hub__repo=REPO, hub__upload="every")
    assert loop.run(config, tmp_path / "run") == Exit.STOPPED
    assert [job.order.step for job in Spool(tmp_path / "run").jobs()] == [1, 10, 15]
