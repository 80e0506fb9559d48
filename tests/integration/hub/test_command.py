"""`neat upload`: what people see, exit codes, and events of the run."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from fakehub.api import READER, STRANGER
from fakehub.server import FakeHub
from support.exports import copied_run, exported, trained_run
from support.hub import REPO, queued, states

import neat
from neat.cli import main
from neat.errors import Exit
from neat.events.lock import RunLock
from neat.events.reader import read_events
from neat.events.spool import Spool

pytestmark = pytest.mark.parametrize("storage", ["lfs"], indirect=True)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return copied_run(tmp_path)


def test_a_run_is_uploaded_and_its_events_tell(hub: FakeHub, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upload", str(run), "--repo", REPO, "--json"]) == Exit.DONE
    output = capsys.readouterr()
    (done,) = json.loads(output.out)["uploads"]
    assert done["commit"] == hub.repos[REPO].branches["main"]
    assert "step 30 to ann/tiny: done" in output.err
    told = [event for event in read_events(run / "events.jsonl") if event.type == "upload"]
    assert [event.data["state"] for event in told] == ["queued", "started", "done"]
    assert told[-1].data["commit"] == done["commit"]
    assert told[-1].step == 30
    # The same again changes nothing.
    assert main(["upload", str(run), "--repo", REPO]) == Exit.DONE
    assert len(hub.titles(REPO)) == 2


def test_a_run_that_trains_is_uploaded_and_left_alone(hub: FakeHub, run: Path) -> None:
    """The trainer holds the run, so it turns status into events itself."""
    before = (run / "events.jsonl").read_bytes()
    lock = RunLock(run / "run.lock")
    try:
        assert main(["upload", str(run), "--repo", REPO, "--checkpoint", "20", "--no-tag"]) == Exit.DONE
    finally:
        lock.release()
    assert hub.titles(REPO)[0].endswith("step 20")
    assert hub.repos[REPO].tags == {}
    assert (run / "events.jsonl").read_bytes() == before
    assert len(Spool(run).unreported()[0]) == 3


def test_a_dry_run_writes_the_very_files(
    hub: FakeHub, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["upload", str(run), "--repo", REPO, "--license", "mit"]
    assert main([*words, "--dry-run", "--to", str(tmp_path / "dry"), "--json"]) == Exit.DONE
    listed = json.loads(capsys.readouterr().out)["files"]
    assert hub.requests == []
    assert {path.name for path in (tmp_path / "dry").iterdir()} == listed.keys()
    for name, entry in listed.items():
        data = (tmp_path / "dry" / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    assert main(words) == Exit.DONE
    there = hub.repos[REPO].commits[hub.repos[REPO].branches["main"]].files
    for name in listed:
        assert there[name].data == (tmp_path / "dry" / name).read_bytes(), name


def test_an_export_can_be_uploaded_too(hub: FakeHub, tmp_path: Path) -> None:
    folder = exported(tmp_path)
    assert main(["upload", str(folder), "--repo", REPO, "--public"]) == Exit.DONE
    assert not hub.repos[REPO].private
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set()
    assert neat.from_pretrained(REPO).score([b"x"]) == neat.load(trained_run()).score([b"x"])


def test_what_failed_is_shown_and_goes_on(
    hub: FakeHub, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neat.hub.upload.ATTEMPTS", 2)
    hub.faults.plan("status", "POST .*/commit/", times=1000)
    monkeypatch.setattr("neat.hub.upload.upload.__defaults__", (2,))
    assert main(["upload", str(run), "--repo", REPO]) == Exit.HUB
    message = capsys.readouterr().err
    assert "trouble of its own (503)" in message
    assert "--resume" in message
    assert main(["upload", str(run), "--status", "--json"]) == Exit.DONE
    (waiting,) = json.loads(capsys.readouterr().out)["waiting"].values()
    assert waiting["state"] == "queued"
    assert waiting["attempt"] == 2
    hub.faults.clear()
    assert main(["upload", str(run), "--resume"]) == Exit.DONE
    assert states(Spool(run))[-1] == "done"
    assert len(hub.titles(REPO)) == 2
    assert main(["upload", str(run), "--resume"]) == Exit.DONE


@pytest.mark.parametrize(
    ("token", "repo", "message", "hint"),
    [
        ("", REPO, "there is no token", "export HF_TOKEN="),
        ("hf_wrongwrongwrong", REPO, "does not accept the token", "export HF_TOKEN="),
        (STRANGER, REPO, "someone else's", "--repo OWNER/NAME"),
        (READER, REPO, "someone else's", "write access"),
        (None, "bob/model", "someone else's", "--repo OWNER/NAME"),
        (None, "no slash", "not the name of a repository", "write OWNER/NAME"),
        (None, "", "no repository is named", "hub.repo"),
    ],
)
def test_mistakes_are_sentences_with_a_hint(
    hub: FakeHub, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    token: str | None, repo: str, message: str, hint: str,
) -> None:  # fmt: skip
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    assert main(["upload", str(run), *(["--repo", repo] if repo else [])]) == Exit.HUB
    output = capsys.readouterr().err
    assert f"hub error: {message}" in output or message in output
    assert hint in output
    assert "Traceback" not in output
    assert token is None or not token or token not in output
    assert hub.repos == {}


def test_a_conflict_says_what_to_do(hub: FakeHub, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upload", str(run), "--repo", REPO, "--checkpoint", "20"]) == Exit.DONE
    edit = hub.repos[REPO].edit("README.md", b"mine")
    assert main(["upload", str(run), "--repo", REPO]) == Exit.HUB
    output = capsys.readouterr().err
    assert f"--onto {edit[:12]}" in output
    assert main(["upload", str(run), "--repo", REPO, "--onto", edit[:12]]) == Exit.DONE


def test_other_mistakes(hub: FakeHub, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upload", str(tmp_path / "nothing"), "--repo", REPO]) == Exit.CHECKPOINT
    assert main(["upload", str(tmp_path), "--status"]) == Exit.CHECKPOINT
    assert main(["upload", str(run), "--repo", REPO, "--checkpoint", "7"]) == Exit.CHECKPOINT
    assert main(["upload", str(run), "--resume", "--status"]) == Exit.USAGE
    assert main(["upload", str(run), "--to", "x"]) == Exit.USAGE
    assert main(["upload", str(run), "--onto", "main"]) == Exit.USAGE
    assert "Traceback" not in capsys.readouterr().err
    assert hub.requests == []


def test_a_process_that_dies_is_reported(
    hub: FakeHub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("neat.train.uploads.sys.executable", shutil.which("false"))
    assert main(["upload", str(run), "--repo", REPO]) == Exit.HUB
    assert "worker.log" in capsys.readouterr().err
    assert len(queued(tmp_path)[0].jobs()) == 1
