"""Reading a run as it grows, breaks, is replaced, resumed; and a long one, first its end and then all of it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from support.recording import copy_recorded

from neat.events.reader import effective, read_events
from neat.events.rundir import RunPaths
from neat.events.schema import Event, encode
from neat.monitor import follow
from neat.monitor.follow import Follower
from neat.monitor.lines import decode_lines


def step(seq: int, at: int, **data: object) -> bytes:
    return encode(Event(seq, 1000.0 + seq, float(seq), "step", at, {"train/loss": 1.0 + at, **data}))


def open_run(folder: Path, content: bytes = b"") -> tuple[Path, Follower]:
    path = folder / "events.jsonl"
    path.write_bytes(content)
    reader = Follower(RunPaths(folder))
    reader.step()
    return path, reader


def test_the_recorded_run_is_what_the_reader_says(recorded: Path) -> None:
    """Every number of the course, by the reference reader and its rules about resumes."""
    reader = Follower(RunPaths(recorded))
    reader.read_all()
    run = reader.snapshot()
    events = list(read_events(recorded / "events.jsonl"))
    assert any(event.type == "resume" for event in events)
    expected = [event for event in effective(events) if event.type == "step"]
    table = run.store.table("step")
    assert list(table.steps) == [event.step for event in expected]
    assert table.columns["train/loss"].tolist() == pytest.approx([event.data["train/loss"] for event in expected])
    assert run.counts["step"] == sum(event.type == "step" for event in events)
    checkpoints = [event.step for event in effective(events) if event.type == "checkpoint"]
    assert [event.step for event in run.events["checkpoint"]] == checkpoints
    assert run.last("train/bpb") == expected[-1].data["train/bpb"]


def test_a_half_written_line_is_not_yet(tmp_path: Path) -> None:
    line = step(2, 2)
    path, reader = open_run(tmp_path, step(1, 1) + line[:30])
    assert reader.snapshot().step == 1
    assert reader.snapshot().bad_lines == 0
    with path.open("ab") as file:
        file.write(line[30:])
    assert reader.step()
    assert reader.snapshot().step == 2
    assert reader.snapshot().bad_lines == 0


def test_what_is_no_event_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    bad = [
        b"\x00\xff\xfe garbage", b"{}", b"[1,2]", b'{"v":99,"seq":1,"time":1.0,"mono":1.0,"type":"step","step":1}',
        b'{"v":1,"seq":1,"time":1e999,"mono":1.0,"type":"step","step":1}', b"[" * 5000,
        b'{"v":1,"seq":1,"time":1.0,"mono":1.0,"type":"step","step":-3}', b'{"v":1},{"v":1}', b'{"v":1,"x":[{}',
        b"{}]}",
        b'{"v":1,"seq":1,"time":1.0,"mono":1.0,"type":"step","step":' + b"9" * 40 + b"}",
    ]  # fmt: skip
    content = b"".join(step(number, number) + line + b"\n" for number, line in enumerate(bad, 1)) + step(99, 99)
    _, reader = open_run(tmp_path, content + b'{"v":1,"seq":100,"time":1.0,"mono":1.0,"type":"later","step":99}\n')
    run = reader.snapshot()
    assert run.bad_lines == len(bad)
    assert run.unknown == 1
    assert run.step == 99
    assert len(run.store.table("step")) == len(bad) + 1


def test_lines_decode_alike_alone_and_together(recorded: Path) -> None:
    lines = (recorded / "events.jsonl").read_bytes().splitlines()
    assert decode_lines(lines) == [decode_lines([line])[0] for line in lines]
    assert decode_lines([*lines, b"{"])[:-1] == decode_lines(lines)
    assert decode_lines([*lines, b"{"])[-1] is None


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    path, reader = open_run(tmp_path, b"".join(step(number, number) for number in range(1, 50)))
    assert reader.snapshot().step == 49
    draft = tmp_path / "new"
    draft.write_bytes(step(1, 7))
    draft.replace(path)
    reader.step()
    reader.step()
    assert reader.snapshot().step == 7
    assert len(reader.snapshot().store.table("step")) == 1
    path.write_bytes(step(1, 3)[:20])
    reader.step()
    reader.step()
    assert reader.snapshot().step == 0


def test_a_resume_while_following_supersedes(tmp_path: Path) -> None:
    path, reader = open_run(tmp_path, b"".join(step(number, number) for number in range(1, 50)))
    with path.open("ab") as file:
        file.write(encode(Event(50, 1050.0, 50.0, "resume", 20)) + step(51, 21))
    reader.step()
    run = reader.snapshot()
    assert run.step == 21
    assert list(run.store.table("step").steps) == list(range(1, 22))


def test_a_course_that_steps_back_without_a_resume_is_cut_too(tmp_path: Path) -> None:
    """The line of the resume may be the one that was torn."""
    order = [1, 2, 3, 4, 2, 3]
    _, reader = open_run(tmp_path, b"".join(step(seq, at) for seq, at in enumerate(order, 1)))
    assert list(reader.snapshot().store.table("step").steps) == [1, 2, 3]


def test_no_file_yet_and_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    reader = Follower(RunPaths(tmp_path))
    assert not reader.step()
    assert reader.snapshot().health.state == "waiting"
    (tmp_path / "events.jsonl").mkdir()
    reader.step()
    assert "cannot read" in reader.snapshot().trouble
    (tmp_path / "events.jsonl").rmdir()
    (tmp_path / "events.jsonl").write_bytes(step(1, 1))
    reader.step()
    assert reader.snapshot().trouble == ""
    assert reader.snapshot().step == 1


def test_a_long_file_shows_its_end_first_and_then_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "WHOLE_BYTES", 100_000)
    monkeypatch.setattr(follow, "HEAD_BYTES", 2_000)
    monkeypatch.setattr(follow, "TAIL_BYTES", 4_000)
    monkeypatch.setattr(follow, "SAMPLE_BYTES", 1_000)
    monkeypatch.setattr(follow, "PIECE_BYTES", 50_000)
    num = 20_000
    content = b"".join(step(number, number, **{"optim/lr": 1.0 / number}) for number in range(1, num + 1))
    path, reader = open_run(tmp_path, content)
    early = reader.snapshot()
    assert reader.busy
    assert early.loaded < 0.2
    assert early.step == num
    assert early.last("train/loss") == num + 1.0
    shown = list(early.store.table("step").steps)
    assert shown[0] == 1
    assert shown == sorted(shown)
    assert 200 < len(shown) < 1000
    assert max(after - before for before, after in pairwise(shown)) < num / 100
    with path.open("ab") as file:
        file.write(step(num + 1, num + 1))
    reader.step()
    assert reader.snapshot().step == num + 1
    while reader.busy:
        reader.step()
    late = reader.snapshot()
    assert late.loaded == 1
    assert list(late.store.table("step").steps) == list(range(1, num + 2))
    with path.open("ab") as file:
        file.write(step(num + 2, num + 2))
    reader.step()
    assert reader.snapshot().step == num + 2


def test_memory_stays_near_that_of_the_numbers(tmp_path: Path) -> None:
    """Twenty bytes of bookkeeping an event and four a number, not the text: 8,000 events of 31 metrics."""
    import tracemalloc

    num = 8_000
    body = {f"group/metric_{place}": place + 0.123456789 for place in range(31)}
    path, reader = tmp_path / "events.jsonl", Follower(RunPaths(tmp_path))
    path.write_bytes(b"".join(step(number, number, **body) for number in range(1, num + 1)))
    tracemalloc.start()
    reader.read_all()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 7e6
    assert held < num * (32 * 4 * 1.3 + 40) + 4e6


def test_the_replay_shows_the_run_as_it_was(recorded: Path) -> None:
    reader = Follower(RunPaths(recorded))
    reader.read_all()
    past = reader.snapshot().at(100)
    events = effective(list(read_events(recorded / "events.jsonl")))
    newest = [event for event in events if event.type == "step" and event.step <= 100][-1]
    assert past.step == 100
    assert past.last("train/bpb") == pytest.approx(newest.data["train/bpb"])
    assert [event.step for event in past.events["checkpoint"]] == [1, 60, 80]
    assert past.events["sample"] == ()
    assert not past.events.get("end")


def test_the_log_reads_its_lines_from_the_file(recorded: Path, tmp_path: Path) -> None:
    run = copy_recorded(tmp_path / "run")
    reader = Follower(RunPaths(run))
    reader.read_all()
    offsets = list(reader.snapshot().course.log.matching(frozenset({"eval"})))
    assert all(b'"type":"eval"' in line for line in reader.lines_at(offsets))
    (run / "events.jsonl").unlink()
    assert reader.lines_at(offsets) == [b""] * len(offsets)
