"""Whatever happens to a monitor, the trainer does not notice; whatever happens to the file, the monitor lives."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.recording import copy_recorded
from support.runs import overrides
from support.terminal import Terminal, events_written

pytestmark = pytest.mark.faults

NEAT = [sys.executable, "-m", "neat"]


@pytest.fixture
def trainer(corpus: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A real trainer that would take very long."""
    run = tmp_path / "run"
    settings = overrides(corpus, train__max_steps=1_000_000, checkpoint__every_steps=100_000)
    config = tmp_path / "settings.toml"
    config.write_text("")
    words = [word for setting in settings for word in ("--set", setting)]
    process = subprocess.Popen(
        [*NEAT, "train", "--config", str(config), *words, "--out", str(run)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while events_written(run / "events.jsonl") < 5:
        assert process.poll() is None
        time.sleep(0.1)
    yield process, run
    process.kill()
    process.wait()


def goes_on(process: subprocess.Popen[bytes], run: Path) -> bool:
    """Whether the trainer still writes."""
    before = events_written(run / "events.jsonl")
    for _ in range(200):
        time.sleep(0.05)
        if events_written(run / "events.jsonl") > before + 3:
            return process.poll() is None
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_monitor_leaves_the_trainer_alone(trainer: tuple[subprocess.Popen[bytes], Path], number: int) -> None:
    process, run = trainer
    files = {path.name for path in run.iterdir()}
    with Terminal([*NEAT, "monitor", str(run)]) as terminal:
        terminal.wait_for("running")
        terminal.process.send_signal(number)
        terminal.end()
    assert goes_on(process, run)
    assert {path.name for path in run.iterdir()} == files


def test_a_lost_terminal_leaves_the_trainer_alone(trainer: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, run = trainer
    with Terminal([*NEAT, "monitor", str(run)]) as terminal:
        terminal.wait_for("running")
        terminal.hang_up()
        for _ in range(300):
            if terminal.process.poll() is not None:
                break
            time.sleep(0.1)
        assert terminal.process.poll() is not None
    assert goes_on(process, run)


def test_a_person_stops_the_run_from_the_monitor(trainer: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, run = trainer
    with Terminal([*NEAT, "monitor", str(run)]) as terminal:
        terminal.wait_for("running")
        terminal.type("S")
        terminal.wait_for("Stop")
        terminal.type("y")
        assert process.wait(60) == 75
        terminal.wait_for("stopped")
        terminal.type("q")
        assert terminal.end() == 0
    last = json.loads((run / "events.jsonl").read_text().splitlines()[-1])
    assert last["reason"] == "stopped on request"


def test_training_under_the_monitor_outlives_it(corpus: Path, tmp_path: Path) -> None:
    """`neat train --monitor`: leaving says that the run goes on, and it does."""
    run = tmp_path / "runs" / "watched"
    config = tmp_path / "settings.toml"
    config.write_text("")
    settings = overrides(corpus, train__max_steps=1_000_000, checkpoint__every_steps=100_000)
    words = [word for setting in settings for word in ("--set", setting)]
    command = [*NEAT, "train", "--config", str(config), *words, "--out", str(run), "--monitor"]
    pid = 0
    try:
        with Terminal(command) as terminal:
            terminal.wait_for("running", 120)
            terminal.read(1)
            terminal.type("q")
            assert terminal.end() == 0
            pid = json.loads((run / "run.lock").read_text())["pid"]
            assert f"training goes on as process {pid}" in terminal.output.decode(errors="replace")
        before = events_written(run / "events.jsonl")
        for _ in range(200):
            time.sleep(0.05)
            if events_written(run / "events.jsonl") > before + 3:
                break
        assert events_written(run / "events.jsonl") > before + 3
        assert "starting at step 0" in (tmp_path / "runs" / "watched.console.log").read_text()
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)


def test_a_trainer_that_cannot_start_is_said(tmp_path: Path) -> None:
    command = [*NEAT, "train", "--config", "tiny", "--set", "data.sources=missing.jsonl", "--out", str(tmp_path / "x")]
    with Terminal([*command, "--monitor"], HOME=str(tmp_path)) as terminal:
        # The directory is made before the text is read, so the monitor may have opened.
        while terminal.process.poll() is None:
            terminal.read(0.3)
            if b"gone" in terminal.output:
                terminal.type("q")
        assert terminal.end() != 0
        assert b"missing.jsonl" in terminal.output
        assert b"Traceback" not in terminal.output
    assert "missing.jsonl" in (tmp_path / "x.console.log").read_text()


def test_sizes_and_garbage_in_a_real_terminal(tmp_path: Path) -> None:
    run = copy_recorded(tmp_path / "run")
    chooser = random.Random(4)
    with Terminal([*NEAT, "monitor", str(run)]) as terminal:
        terminal.wait_for("Overview")
        for _ in range(60):
            terminal.resize(chooser.randrange(1, 230), chooser.randrange(1, 70))
            if chooser.random() < 0.3:
                with (run / "events.jsonl").open("ab") as file:
                    file.write(chooser.randbytes(chooser.randrange(1, 3000)))
            terminal.type(chooser.choice("123456789+-lsx[]t"))
            terminal.read(0.03)
        terminal.resize(100, 30)
        terminal.type("7")
        terminal.wait_for("bad lines")
        terminal.type("q")
        assert terminal.end() == 0
    assert b"Traceback" not in terminal.output


ASCII = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
GREY = {"NO_COLOR": "1", "COLORTERM": "truecolor"}


@pytest.mark.parametrize("environment", [ASCII, GREY], ids=["no UTF-8", "no colour"])
def test_terminals_that_can_do_less(tmp_path: Path, environment: dict[str, str]) -> None:
    run = copy_recorded(tmp_path / "run")
    with Terminal([*NEAT, "monitor", str(run)], (80, 24), **environment) as terminal:
        terminal.wait_for("Overview")
        terminal.read(1)
        terminal.type("q")
        assert terminal.end() == 0
    assert b"Traceback" not in terminal.output
    if "LANG" in environment:
        assert "─".encode() not in terminal.output
    else:
        colours = [part for part in terminal.output.split(b"\x1b[")[1:] if part[:5] in (b"38;2;", b"48;2;")]
        shades = {tuple(part[5:].split(b"m")[0].split(b";")[:3]) for part in colours}
        assert shades
        assert all(max(map(int, shade)) - min(map(int, shade)) <= 1 for shade in shades)
