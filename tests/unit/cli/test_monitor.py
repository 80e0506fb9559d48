"""`neat monitor` on the command line: printing, listing, choosing a run, and what it says when it cannot."""

from __future__ import annotations

import os
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from support.recording import copy_recorded

from neat.cli import main
from neat.cli.launch import trainer_command
from neat.cli.monitor import SCREENS
from neat.errors import Exit
from neat.monitor.bindings import TITLES


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs under `runs`; the one named `new` was written last."""
    for age, name in ((200, "old"), (100, "new")):
        run = copy_recorded(tmp_path / "runs" / name)
        os.utime(run / "events.jsonl", (1_700_000_000 - age, 1_700_000_000 - age))
        (run / "run.json").write_text(f'{{"name": "{name}"}}')
    (tmp_path / "runs" / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def test_the_screens_of_the_command_are_those_of_the_monitor() -> None:
    assert list(SCREENS) == list(TITLES)


@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_is_printed(runs: Path, capsys: pytest.CaptureFixture[str], screen: str) -> None:
    assert main(["monitor", str(runs / "old"), "--print", screen, "--size", "80x24"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 24
    assert max(map(len, lines)) <= 80
    assert " old " in lines[0]


def test_without_a_name_the_newest_run_is_taken(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", "--print", "overview"]) == 0
    assert " new " in capsys.readouterr().out
    assert main(["monitor", "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == ["runs/new", "runs/old"]
    assert "step 240" in listed[0]


def test_a_picture_is_written(runs: Path, tmp_path: Path) -> None:
    for theme in ("dark", "light"):
        target = tmp_path / f"{theme}.svg"
        command = ["monitor", "--print", "components", "--output", str(target), "--size", "120x40", "--theme", theme]
        assert main(command) == 0
        root = ET.fromstring(target.read_text())
        texts = " ".join(element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text"))
        assert "Patch lengths" in texts
        assert "http" not in target.read_text().replace("http://www.w3.org/2000/svg", "")
    assert (tmp_path / "dark.svg").read_text() != (tmp_path / "light.svg").read_text()


def test_text_goes_to_a_file(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", "--print", "log", "--output", str(tmp_path / "log.txt")]) == 0
    assert main(["monitor", "--print", "log"]) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / "log.txt").read_text().splitlines()[2:] == printed.splitlines()[2:]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["missing"], Exit.CHECKPOINT, "missing is not a run directory"),
        (["runs"], Exit.CHECKPOINT, "runs there: runs/new, runs/old"),
        (["runs/other"], Exit.CHECKPOINT, "not a run directory"),
        (["runs/new"], Exit.USAGE, "needs a terminal"),
        (["--print", "overview", "--size", "big"], Exit.USAGE, "write it as 100x30"),
        (["--print", "overview", "--size", "20x5"], Exit.USAGE, "from 60x18"),
        (["--print", "overview", "--output", "no/such/folder.svg"], Exit.INTERNAL, "cannot write"),
        (["--output", "x.svg"], Exit.USAGE, "--output goes with --print"),
        (["--print", "everything"], Exit.USAGE, "invalid choice"),
    ],
)
def test_what_cannot_be_done_is_said(
    runs: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: Exit, said: str
) -> None:
    assert main(["monitor", *words]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_no_run_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["monitor"]) == Exit.CHECKPOINT
    assert "there is no run under runs/" in capsys.readouterr().err
    assert main(["monitor", "--list"]) == 0


def test_a_run_without_configuration_is_read_by_its_events(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy of the events alone is enough."""
    (runs / "copy").mkdir()
    shutil.copy(runs / "old" / "events.jsonl", runs / "copy" / "events.jsonl")
    assert main(["monitor", str(runs / "copy"), "--print", "overview"]) == 0
    assert " copy " in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv",
    [
        ["/usr/bin/neat", "train", "--config", "tiny", "--monitor", "--set", "seed=1"],
        ["/usr/bin/neat-train", "--config", "tiny", "--monitor", "--set", "seed=1"],
        ["/lib/neat/__main__.py", "train", "--config", "tiny", "--set", "seed=1", "--monitor"],
    ],
)
def test_the_trainer_is_started_by_the_same_words(argv: list[str]) -> None:
    assert trainer_command(argv) == [sys.executable, "-m", "neat", "train", "--config", "tiny", "--set", "seed=1"]


def test_training_under_the_monitor_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", "tiny", "--monitor"]) == Exit.USAGE
    assert "--monitor needs a terminal" in capsys.readouterr().err
