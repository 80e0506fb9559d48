"""Whether a run is alive, and what deserves a look."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from neat.events.lock import RunLock
from neat.events.schema import Event
from neat.monitor.alerts import NEEDED, PLATEAU_REPORTS, Watch
from neat.monitor.health import Holder, judge, read_holder

HELD, FREE, UNKNOWN = (Holder(held, 4711, "far") for held in (True, False, None))


def heartbeat(at: float) -> Event:
    return Event(1, at, at, "heartbeat", 5)


def end(at: float, **data: object) -> Event:
    return Event(2, at, at, "end", 5, data)


@pytest.mark.parametrize(
    ("newest", "holder", "now", "state", "text"),
    [
        (None, Holder(False), 0.0, "waiting", "no events yet"),
        (None, FREE, 0.0, "gone", "process 4711 on far ended before it wrote an event"),
        (None, HELD, 0.0, "waiting", "process 4711 on far prepares the run"),
        (heartbeat(100.0), HELD, 108.0, "running", "heartbeat 8 s ago"),
        (heartbeat(100.0), HELD, 160.0, "silent", "no heartbeat for 1 m 00 s: process 4711 on far still holds the run"),
        (heartbeat(100.0), UNKNOWN, 108.0, "running", "heartbeat 8 s ago"),
        (heartbeat(100.0), UNKNOWN, 160.0, "silent", "cannot be told from here"),
        (heartbeat(100.0), FREE, 820.0, "gone", "no heartbeat for 12 m: the process is gone"),
        (heartbeat(100.0), FREE, 90.0, "gone", "no heartbeat for 0 s"),
        (end(100.0, reason="finished", exit_code=0), FREE, 142.0, "finished", "finished 42 s ago"),
        (end(100.0, reason="stopped on request", exit_code=75), FREE, 142.0, "stopped", "the same command goes on"),
        (end(100.0, reason="diverged", exit_code=6, message="nan"), FREE, 142.0, "failed", "code 6: diverged: nan"),
    ],
)
def test_the_state_of_a_run(newest: Event | None, holder: Holder, now: float, state: str, text: str) -> None:
    events = {} if newest is None else {newest.type: (newest,)}
    health = judge(events, newest, holder, now)
    assert health.state == state
    assert text in health.text


def test_words_behind_the_end_do_not_revive_a_run() -> None:
    """A thread may write once more; a next attempt holds the lock and beats before it begins."""
    done = end(100.0, reason="finished", exit_code=0)
    late = Event(9, 101.0, 1.0, "system", 5)
    begun = Event(1, 10.0, 1.0, "run", 0)
    events = {"end": (done,), "run": (begun,)}
    assert judge(events, late, FREE, 142.0).state == "finished"
    assert judge(events, late, UNKNOWN, 142.0).state == "finished"
    assert judge(events, late, HELD, 105.0).state == "running"
    again = {"end": (done,), "run": (begun, Event(10, 110.0, 1.0, "run", 5))}
    assert judge(again, Event(11, 111.0, 1.0, "heartbeat", 5), FREE, 142.0).state == "gone"


def test_a_pause_is_seen_until_it_ends() -> None:
    asked = [Event(1, 50.0, 1.0, "request", 5, {"request": kind, "outcome": "done"}) for kind in ("pause", "resume")]
    assert judge({"request": (asked[0],)}, heartbeat(100.0), HELD, 101.0).state == "paused"
    assert judge({"request": tuple(asked)}, heartbeat(100.0), HELD, 101.0).state == "running"


def test_the_holder_is_asked_of_the_kernel(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    assert read_holder(path) == Holder(False)
    lock = RunLock(path)
    assert read_holder(path) == Holder(True, os.getpid(), socket.gethostname())
    lock.release()
    assert read_holder(path) == Holder(False, os.getpid(), socket.gethostname())
    path.write_bytes(b"\xff{" * 40)
    assert read_holder(path) == Holder(False)


def told(rows: list[dict[str, object]], kind: str = "step") -> list[tuple[str, int]]:
    watch = Watch()
    events = [Event(step, float(step), 0.0, kind, step, row) for step, row in enumerate(rows, 1)]
    found = [*watch.steps(events)] if kind == "step" else [*watch.system(events)]
    return [(alert.kind, alert.step) for alert in found]


def steady(num: int) -> list[dict[str, object]]:
    """A healthy run: the loss falls by a tenth of itself every hundred reports, with a little noise."""
    return [
        {"train/loss": 3.0 * 0.9 ** (step / 100) + 0.01 * (step % 3), "optim/grad_norm": 1.0 + 0.1 * (step % 5),
         "perf/bytes_per_s": 1000.0 + step % 7}
        for step in range(num)
    ]  # fmt: skip


def test_a_healthy_run_is_not_disturbed() -> None:
    assert told(steady(1000)) == []


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [("train/loss", 9.0, "spike"), ("optim/grad_norm", 30.0, "gradients"), ("perf/bytes_per_s", 100.0, "speed")],
)
def test_a_sudden_change_is_told_once(key: str, value: float, kind: str) -> None:
    rows = steady(100)
    for row in rows[50:53]:
        row[key] = value
    assert told(rows) == [(kind, 51)]
    for row in rows[80:82]:
        row[key] = value
    assert told(rows) == [(kind, 51), (kind, 81)]
    assert told([dict(row, **{key: value}) for row in rows[: NEEDED // 2]]) == []


def test_numbers_that_are_not_finite_are_told() -> None:
    rows = steady(30)
    rows[20] |= {"train/loss": None, "nonfinite": ["train/loss"]}
    assert told(rows) == [("numbers", 21)]


def test_a_plateau_is_told() -> None:
    rows: list[dict[str, object]] = [{"train/loss": 2.0 + 0.01 * (step % 2)} for step in range(2 * PLATEAU_REPORTS)]
    assert told(rows) == [("plateau", 2 * PLATEAU_REPORTS)]


def test_another_window_runs_at_another_speed() -> None:
    rows = [row | {"train/window": 64} for row in steady(50)]
    rows += [row | {"train/window": 512, "perf/bytes_per_s": 100.0} for row in steady(50)]
    assert [kind for kind, _ in told(rows) if kind == "speed"] == []


def test_full_memories_and_disks_are_told() -> None:
    rows: list[dict[str, object]] = [
        {"gpu/0/memory_used_bytes": 50.0, "gpu/0/memory_total_bytes": 100.0, "host/memory_used_bytes": 1,
         "host/memory_total_bytes": 9},
        {"gpu/0/memory_used_bytes": 97.0, "gpu/0/memory_total_bytes": 100.0, "disk/free_bytes": 10},
        {"gpu/0/memory_used_bytes": 98.0, "gpu/0/memory_total_bytes": 100.0, "disk/free_bytes": 10},
    ]  # fmt: skip
    assert told(rows, "system") == [("memory of GPU 0", 2), ("disk", 2)]
