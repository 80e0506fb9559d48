"""The trainer answers requests between steps, at no cost where there are none."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.runs import configure

from neat.errors import Exit
from neat.events.reader import read_events
from neat.events.requests import Kind, ask, pending
from neat.events.writer import EventWriter
from neat.train import control
from neat.train.control import LOOK_S, Control
from neat.train.loop import run
from neat.train.signals import StopRequest


class Fixture:
    """A control with a clock of its own: `sleep` moves it, and may do something when a pause waits."""

    def __init__(self, root: Path) -> None:
        self.root, self.now, self.saves = root, 0.0, 0
        self.events = EventWriter(root / "events.jsonl", heartbeat_s=None)
        self.stop = StopRequest()
        self.while_paused: list[Kind] = []
        self.control = Control(root, self.events, self.stop, self._save, lambda: self.now, self._sleep)

    def _save(self) -> None:
        self.saves += 1

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.while_paused:
            ask(self.root, self.while_paused.pop(0))

    def poll(self, step: int = 7) -> bool:
        self.now += LOOK_S
        return self.control.poll(step)

    def answers(self) -> list[tuple[object, object]]:
        return [(e.data["request"], e.data["outcome"]) for e in read_events(self.root / "events.jsonl")]


@pytest.fixture
def fixture(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path)


def test_nothing_is_looked_at_more_than_once_a_second(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr(control.requests, "pending", lambda root: looks.append(root) or [])
    for _ in range(100):
        fixture.now += LOOK_S / 20
        fixture.control.poll(1)
    assert 4 <= len(looks) <= 5


def test_saving_stopping_and_notes(fixture: Fixture) -> None:
    ask(fixture.root, "save")
    ask(fixture.root, "note", "it looks fine", by="me@here")
    assert not fixture.poll()
    assert fixture.saves == 1
    ask(fixture.root, "stop")
    assert not fixture.poll(9)
    assert fixture.stop.requested
    assert fixture.answers() == [("save", "done"), ("note", "done"), ("stop", "done")]
    events = list(read_events(fixture.root / "events.jsonl"))
    assert (events[1].data["text"], events[1].data["by"], events[2].step) == ("it looks fine", "me@here", 9)
    assert pending(fixture.root) == []


def test_a_pause_waits_for_its_end(fixture: Fixture) -> None:
    ask(fixture.root, "pause")
    fixture.while_paused = ["save", "pause", "note", "resume"]
    assert fixture.poll()
    assert not fixture.stop.requested
    assert fixture.answers() == [
        ("pause", "done"), ("save", "done"), ("pause", "refused"), ("note", "done"), ("resume", "done"),
    ]  # fmt: skip
    assert not fixture.poll()


def test_stop_ends_a_pause(fixture: Fixture) -> None:
    ask(fixture.root, "pause")
    fixture.while_paused = ["stop"]
    assert fixture.poll()
    assert fixture.stop.requested


def test_a_resume_without_a_pause_and_nonsense_are_refused(fixture: Fixture) -> None:
    ask(fixture.root, "resume")
    (fixture.root / "requests" / "99999999999999999999-1.json").write_text("{}")
    fixture.poll()
    assert fixture.answers() == [("resume", "refused"), ("unknown", "refused")]
    assert pending(fixture.root) == []


def test_what_was_asked_of_an_earlier_attempt_is_refused(tmp_path: Path) -> None:
    ask(tmp_path, "stop")
    fixture = Fixture(tmp_path)
    assert fixture.answers() == [("stop", "refused")]
    fixture.poll()
    assert not fixture.stop.requested


def wait_for(path: Path, text: str) -> None:
    for _ in range(1200):
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.05)
    raise AssertionError(f"{text} did not come")


def test_a_real_run_pauses_saves_goes_on_and_stops(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked from another thread, as by a monitor; the steps taken are those of an undisturbed run."""
    monkeypatch.setattr(control, "LOOK_S", 0.02)
    root = tmp_path / "run"
    events = root / "events.jsonl"
    steps: dict[str, int] = {}

    def person() -> None:
        wait_for(events, '"type":"step"')
        ask(root, "pause")
        wait_for(events, '"request":"pause"')
        time.sleep(0.3)
        steps["paused"] = events.read_text().count('"type":"step"')
        ask(root, "save")
        wait_for(events, '"request":"save"')
        steps["saved"] = events.read_text().count('"type":"step"')
        ask(root, "resume")
        wait_for(events, '"request":"resume"')
        time.sleep(0.2)
        ask(root, "stop")

    asker = threading.Thread(target=person)
    asker.start()
    code = run(configure(corpus, train__max_steps=1_000_000, checkpoint__every_steps=1_000_000), root)
    asker.join()
    assert code == Exit.STOPPED
    told: list[Any] = [json.loads(line) for line in events.read_text().splitlines()]
    assert steps["paused"] == steps["saved"]
    assert [(e["request"], e["outcome"]) for e in told if e["type"] == "request"] == [
        ("pause", "done"), ("save", "done"), ("resume", "done"), ("stop", "done"),
    ]  # fmt: skip
    saved = [e["step"] for e in told if e["type"] == "checkpoint"]
    assert saved[0] == 1
    assert saved[-1] == told[-1]["step"]
    assert told[-1]["reason"] == "stopped on request"
