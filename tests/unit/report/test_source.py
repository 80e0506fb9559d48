"""The course of a run, read with bounded memory."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.recorded import append, steps, write_run

from neat.errors import CheckpointError, Exit
from neat.events.reader import effective, read_events
from neat.report.source import Course, open_paths

kinds = st.sampled_from(["step", "resume", "run", "alert", "eval", "heartbeat", "system"])


@given(st.lists(st.tuples(kinds, st.integers(0, 8)), min_size=1, max_size=40))
def test_the_course_is_what_is_effective(entries: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        append(path, [(kind, step, {}) for kind, step in entries])
        course = Course(path)
        expected = effective(list(read_events(path)))
        assert [event.seq for event in course] == [event.seq for event in expected]
        assert (course.read, course.superseded) == (len(entries), len(entries) - len(expected))


def test_torn_and_damaged_lines_are_counted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps(3))
    events = run / "events.jsonl"
    events.write_bytes(b"garbage\n" + events.read_bytes() + b'{"v":1,"seq":9,"ti')
    course = Course(events)
    assert [event.step for event in course] == [1, 2, 3]
    assert course.bad_lines == 1


def test_lines_of_a_newer_version_beside_ours_are_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps(1))
    events = run / "events.jsonl"
    events.write_bytes(events.read_bytes() + events.read_bytes().replace(b'{"v":1', b'{"v":2'))
    course = Course(events)
    assert len(list(course)) == 1
    assert course.bad_lines == 1


def refused(root: Path) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        list(Course(open_paths(root).events))
    assert caught.value.exit_code == Exit.CHECKPOINT
    assert caught.value.hint
    return caught.value


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    assert "there is no run" in refused(tmp_path / "nothing").message
    assert "not a run directory" in refused(tmp_path).message
    run = write_run(tmp_path / "run", steps(2))
    (run / "events.jsonl").write_bytes(b"")
    assert "no event yet" in refused(run).message
    (run / "events.jsonl").write_bytes(b"what\nis\nthis\n")
    assert "none of the 3 lines" in refused(run).message
    (run / "events.jsonl").unlink()
    assert "no events.jsonl" in refused(run).message


def test_an_unknown_version_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps(2))
    events = run / "events.jsonl"
    events.write_bytes(events.read_bytes().replace(b'{"v":1', b'{"v":7'))
    assert "schema version 7; this program reads up to 1" in refused(run).message


def test_a_run_that_grows_is_read_as_it_was(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", steps(3))
    course = Course(run / "events.jsonl")
    seen = []
    for event in course:
        seen.append(event.step)
        append(run / "events.jsonl", steps(1, start=100))
    assert seen == [1, 2, 3]
