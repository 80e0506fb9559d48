"""A run on another machine: through a script in the place of ssh, which runs the command here."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.recording import copy_recorded

from neat.errors import NeatError
from neat.events.lock import RunLock
from neat.events.schema import Event, encode
from neat.monitor import remote
from neat.monitor.follow import Follower
from neat.monitor.places import open_runs
from neat.monitor.remote import Mirror

FAKE = """#!/bin/sh
# ssh [options] -- HOST COMMAND
while [ "$1" != "--" ]; do shift; done
shift
[ "$1" = "somebody@elsewhere" ] || { echo "ssh: Could not resolve hostname $1" >&2; exit 255; }
echo "Welcome to elsewhere"
exec sh -c "$2"
"""


@pytest.fixture(autouse=True)
def _ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "ssh"
    script.write_text(FAKE)
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(remote, "AGAIN_S", 0.1)


@pytest.fixture
def far(tmp_path: Path) -> Path:
    return copy_recorded(tmp_path / "far away" / "it's a run")


@pytest.fixture
def reader(far: Path) -> Iterator[Follower]:
    mirrors: list[Mirror] = []
    (found,) = open_runs([f"somebody@elsewhere:{far}"], mirrors)
    mirrors[0].start()
    assert mirrors[0].wait(20)
    yield found
    mirrors[0].close()
    assert not mirrors[0].paths.root.exists()


def until(reader: Follower, condition: Callable[[], bool]) -> None:
    for _ in range(400):
        reader.step()
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(reader.snapshot().trouble or "it never came true")


def test_a_far_run_is_followed(far: Path, reader: Follower) -> None:
    until(reader, lambda: reader.snapshot().step == 240)
    run = reader.snapshot()
    assert run.name == "tiny-full"
    assert run.place == f"somebody@elsewhere:{far}"
    assert not run.writable
    assert run.health.state == "finished"
    with (far / "events.jsonl").open("ab") as file:
        file.write(encode(Event(999, time.time(), 1.0, "step", 241, {"train/bpb": 1.0})))
    until(reader, lambda: reader.snapshot().step == 241)
    assert reader.snapshot().bad_lines == 0


def test_a_far_file_that_is_replaced_is_read_anew(far: Path, reader: Follower) -> None:
    until(reader, lambda: reader.snapshot().step == 240)
    draft = far / "draft"
    draft.write_bytes(encode(Event(1, time.time(), 1.0, "step", 3, {"train/bpb": 1.0})))
    draft.replace(far / "events.jsonl")
    until(reader, lambda: reader.snapshot().step == 3)


def test_a_far_process_is_asked_for(far: Path, reader: Follower) -> None:
    lines = (far / "events.jsonl").read_bytes().splitlines(keepends=True)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    lock = RunLock(far / "run.lock")
    lock.release()
    content = (far / "run.lock").read_text().replace(str(os.getpid()), str(child.pid))
    (far / "run.lock").write_text(content)
    with (far / "events.jsonl").open("ab") as file:
        file.write(
            lines[0].replace(lines[0][: lines[0].index(b'"mono"')], b'{"v":1,"seq":1000,"time":%d.5,' % time.time())
        )
    until(reader, lambda: reader.snapshot().health.state == "running")
    child.kill()
    child.wait()
    until(reader, lambda: reader.snapshot().health.state == "gone")


def test_a_cut_connection_is_told_and_tried_again(far: Path, reader: Follower) -> None:
    until(reader, lambda: reader.snapshot().step == 240)
    mirror = reader._mirror
    assert mirror is not None
    assert mirror._process is not None
    mirror._process.kill()
    with (far / "events.jsonl").open("ab") as file:
        file.write(encode(Event(999, time.time(), 1.0, "step", 250, {"train/bpb": 1.0})))
    until(reader, lambda: reader.snapshot().step == 250)
    until(reader, lambda: reader.snapshot().trouble == "")
    assert reader.snapshot().bad_lines == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("somebody@elsewhere:/no/such/folder", "there is no directory /no/such/folder"),
        ("nobody@nowhere:run", "nowhere"),
    ],
)
def test_what_is_not_there_is_said(name: str, said: str) -> None:
    mirrors: list[Mirror] = []
    (reader,) = open_runs([name], mirrors)
    mirrors[0].start()
    try:
        assert not mirrors[0].wait(20)
        reader.step()
        assert said in reader.snapshot().trouble
    finally:
        mirrors[0].close()


def test_a_name_cannot_be_an_option(tmp_path: Path) -> None:
    with pytest.raises(NeatError):
        open_runs(["-oProxyCommand=touch:x"], [])
