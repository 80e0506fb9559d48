"""The uploading process is killed at its worst moments, or its trainer is: each file arrives once, no process stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fakehub.server import FakeHub
from support.hub import REPO, environment, queued, states

from neat.errors import Exit
from neat.events.spool import Spool

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

MOMENTS = [
    "GET /api/models/ann/tiny$",
    "POST /api/repos/create",
    "POST .*/preupload/",
    "PUT /store/",
    "POST .*/commit/",
    "POST .*/tag/",
]

TRAINER = """
import sys, time
from pathlib import Path
from neat.events.spool import Spool
from neat.train.uploads import Worker
worker = Worker(Spool(Path(sys.argv[1])))
worker.ensure()
print(worker._process.pid, flush=True)
time.sleep(600)
"""


def worker(hub: FakeHub, folder: Path, spool: Spool) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "neat.hub.worker", str(spool.run), "5"],
        env=environment(hub, folder, HF_HUB_DISABLE_XET="1"),
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def wait_until(what: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
def test_killed_at_every_request_the_upload_arrives_once(tmp_path: Path) -> None:
    """At each request the process is killed while the answer is on its way, half of the times after the effect."""
    with FakeHub(tmp_path) as hub:
        spool, _ = queued(tmp_path)
        for number, moment in enumerate(MOMENTS):
            hub.faults.plan("lost" if number % 2 == 0 else "stall", moment, seconds=1.0)
            process = worker(hub, tmp_path, spool)
            seen = len(hub.requests)
            wait_until(lambda seen=seen, number=number: any(hits(hub.requests[seen:], MOMENTS[number])))  # type: ignore[misc]
            process.kill()
            finish(process)
            hub.faults.clear()
        process = worker(hub, tmp_path, spool)
        assert process.wait(60) == Exit.DONE
        finish(process)
        assert states(spool)[-1] == "done"
        assert [title.split()[-1] for title in hub.titles(REPO)] == ["30", "commit"]
        assert hub.repos[REPO].tags == {"step-00000030": hub.repos[REPO].branches["main"]}
        assert spool.jobs() == []


def hits(requests: list[str], moment: str) -> list[bool]:
    return [bool(re.search(moment, request)) for request in requests]


def finish(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait(30)


def test_two_processes_do_not_upload_at_once(tmp_path: Path) -> None:
    with FakeHub(tmp_path) as hub:
        hub.faults.plan("stall", "GET /api/models/ann/tiny$", seconds=3.0)
        spool, _ = queued(tmp_path)
        first = worker(hub, tmp_path, spool)
        wait_until(lambda: bool(hub.requests))
        second = worker(hub, tmp_path, spool)
        assert second.wait(30) == Exit.LOCKED
        finish(second)
        assert first.wait(60) == Exit.DONE
        finish(first)
        assert len(hub.titles(REPO)) == 2


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """kill -9 of the trainer leaves no process behind, and the job in the queue."""
    with FakeHub(tmp_path) as hub:
        hub.faults.plan("stall", ".*", times=1000, seconds=60.0)
        spool, _ = queued(tmp_path)
        parent = subprocess.Popen(
            [sys.executable, "-c", TRAINER, str(spool.run)],
            env=environment(hub, tmp_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_until(lambda: bool(hub.requests))
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(10)
        parent.stdout.close()
        wait_until(lambda: not alive(child), 5.0)
        assert [job.order.step for job in spool.waiting()] == [30]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_attempt_that_takes_too_long_ends_and_is_repeated(tmp_path: Path) -> None:
    with FakeHub(tmp_path) as hub:
        hub.faults.plan("stall", "POST .*/preupload/", seconds=60.0)
        spool, job = queued(tmp_path, read_s=300.0, attempt_s=5.0)
        first = worker(hub, tmp_path, spool)
        assert first.wait(60) == Exit.HUB
        finish(first)
        assert states(spool)[-1] == "retry"
        assert "longer than 5 s" in str(job.state()["reason"])
        queued(tmp_path)
        second = worker(hub, tmp_path, spool)
        assert second.wait(60) == Exit.DONE
        finish(second)
        assert len(hub.titles(REPO)) == 2
