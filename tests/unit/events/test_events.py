"""Events: what is written can be read, whatever else is in the file."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neat.events.reader import EventReader, effective, read_events
from neat.events.schema import MAX_LINE_BYTES, TYPES, Event, MalformedEventError, decode, encode
from neat.events.writer import EventWriter, last_seq

keys = st.from_regex(r"\A[a-z]{2,6}/[a-z_]{1,8}\Z")
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def finite(value: object) -> object:
    """What JSON can hold of a value."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [finite(item) for item in value]
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return value


@given(st.sampled_from(sorted(TYPES)), st.integers(0, 2**40), st.dictionaries(keys, values, max_size=4))
def test_an_event_survives_its_line(kind: str, step: int, data: dict[str, object]) -> None:
    line = encode(Event(3, 1.5, 0.25, kind, step, data))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    event = decode(line)
    read = dict(event.data)
    flagged = read.pop("nonfinite", [])
    assert (event.seq, event.time, event.mono, event.type, event.step) == (3, 1.5, 0.25, kind, step)
    assert read == {key: finite(value) for key, value in data.items()}
    assert flagged == [key for key, value in data.items() if finite(value) != value]


@pytest.mark.parametrize("data", [{"seq": 1}, {"nonfinite": []}, {"x": object()}, {"x": {1}}, {"x": b"raw"}])
def test_what_is_no_event_is_a_fault_of_the_program(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"belong to the envelope|is not a value of an event"):
        encode(Event(1, 0.0, 0.0, "step", 0, data))


def test_an_unknown_type_and_an_endless_event_are_refused() -> None:
    with pytest.raises(ValueError, match="is not an event type"):
        encode(Event(1, 0.0, 0.0, "stepp", 0))
    with pytest.raises(ValueError, match="bytes"):
        encode(Event(1, 0.0, 0.0, "step", 0, {"x": [0] * MAX_LINE_BYTES}))
    assert len(encode(Event(1, 0.0, 0.0, "sample", 0, {"text": "x" * 10**6}))) < 20_000


@given(st.binary(max_size=300))
def test_no_bytes_break_the_decoder(line: bytes) -> None:
    with pytest.raises(MalformedEventError):
        decode(line)


@pytest.mark.parametrize(
    "change",
    [{"v": 2}, {"v": 0}, {"v": True}, {"seq": 1.0}, {"step": None}, {"time": "now"}, {"time": 10**400}, {"type": 3}],
)
def test_an_envelope_out_of_shape_is_malformed(change: dict[str, object]) -> None:
    envelope = {"v": 1, "seq": 1, "time": 0.0, "mono": 0.0, "type": "step", "step": 0} | change
    with pytest.raises(MalformedEventError):
        decode(json.dumps(envelope).encode())


@given(st.lists(st.one_of(st.integers(0, 3), st.binary(max_size=40)), max_size=12), st.integers(1, 7))
def test_garbage_between_events_is_counted_and_skipped(
    tmp_path_factory: pytest.TempPathFactory, parts: list[int | bytes], chunk: int
) -> None:
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    lines = [
        encode(Event(index + 1, 0.0, 0.0, "step", part)) if isinstance(part, int) else part.replace(b"\n", b"") + b"\n"
        for index, part in enumerate(parts)
    ]
    path.write_bytes(b"".join(lines))
    expected = [part for part in parts if isinstance(part, int)]
    garbage = sum(line != b"\n" for line, part in zip(lines, parts, strict=True) if isinstance(part, bytes))
    reader = EventReader(path)
    steps: list[int] = []
    while reader.offset < path.stat().st_size:
        steps += [event.step for event in reader.poll(chunk)]
    assert steps == expected
    assert reader.bad_lines == garbage
    assert [event.step for event in read_events(path)] == expected


def test_a_torn_last_line_is_not_yet(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    reader = EventReader(path)
    assert reader.poll() == []
    line = encode(Event(1, 0.0, 0.0, "step", 5))
    path.write_bytes(line[:20])
    assert reader.poll() == []
    with path.open("ab") as file:
        file.write(line[20:])
    assert [event.step for event in reader.poll()] == [5]
    assert reader.bad_lines == 0
    assert reader.poll() == []


def test_a_replaced_file_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(encode(Event(i, 0.0, 0.0, "step", i)) for i in (1, 2)))
    reader = EventReader(path)
    assert len(reader.poll()) == 2
    path.write_bytes(encode(Event(1, 0.0, 0.0, "step", 9)))
    assert [event.step for event in reader.poll()] == [9]


def test_an_endless_line_takes_no_memory_and_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * (5 * MAX_LINE_BYTES) + b"\n" + encode(Event(1, 0.0, 0.0, "step", 7)))
    reader = EventReader(path)
    assert [event.step for event in reader.poll()] == [7]
    assert reader.bad_lines == 1


def test_the_next_writer_ends_a_torn_line_and_goes_on_counting(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path, heartbeat_s=None) as events:
        events.write("step", 1)
        events.write("step", 2)
    with path.open("ab") as file:
        file.write(b'{"v":1,"seq":3,"ti')
    with EventWriter(path, heartbeat_s=None) as events:
        assert events.write("step", 3).seq == 3
    reader = EventReader(path)
    assert [event.seq for event in reader.poll()] == [1, 2, 3]
    assert reader.bad_lines == 1


def test_the_last_number_is_found_behind_any_amount_of_garbage(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert last_seq(path) == 0
    path.write_bytes(encode(Event(41, 0.0, 0.0, "step", 1)) + b"garbage\n" * 300_000 + b"torn")
    assert last_seq(path) == 41
    path.write_bytes(b"garbage\n" * 300_000)
    assert last_seq(path) == 0


def test_the_heartbeat_beats_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    beating = threading.Event()
    ticks = iter(range(10**6))

    def clock() -> float:
        tick = next(ticks)
        if tick >= 3:
            beating.set()
        return float(tick)

    events = EventWriter(path, heartbeat_s=0.01, clock=clock)
    events.write("step", 4)
    assert beating.wait(30)
    events.close()
    events.close()
    beats = [event for event in read_events(path) if event.type == "heartbeat"]
    assert beats
    assert beats[-1].step == 4
    assert [event.seq for event in read_events(path)] == list(range(1, len(beats) + 2))
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def test_many_threads_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path, heartbeat_s=0.001) as events:
        threads = [threading.Thread(target=lambda: [events.write("alert", i) for i in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    reader = EventReader(path)
    seqs = [event.seq for event in reader.poll()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= 200
    assert reader.bad_lines == 0


def course(*pairs: tuple[str, int]) -> list[Event]:
    return [Event(seq, 0.0, 0.0, kind, step) for seq, (kind, step) in enumerate(pairs, start=1)]


def test_a_resume_supersedes_what_came_after_its_step() -> None:
    events = course(
        ("run", 0), ("step", 1), ("checkpoint", 1), ("step", 2), ("alert", 2), ("step", 3),
        ("run", 1), ("resume", 1), ("step", 2), ("step", 3), ("checkpoint", 3), ("step", 4),
        ("run", 3), ("resume", 3), ("step", 4), ("end", 4),
    )  # fmt: skip
    kept = effective(events)
    assert [event.step for event in kept if event.type == "step"] == [1, 2, 3, 4]
    assert [event.seq for event in kept if event.type == "step"] == [2, 9, 10, 15]
    assert sum(event.type == "run" for event in kept) == 3
    assert any(event.type == "alert" for event in kept)
    assert effective([]) == []


@given(st.lists(st.tuples(st.sampled_from(["step", "resume"]), st.integers(0, 6)), max_size=20))
def test_superseding_equals_its_definition(pairs: list[tuple[str, int]]) -> None:
    events = course(*pairs)
    expected = [
        event
        for at, event in enumerate(events)
        if event.type == "resume"
        or not any(later.type == "resume" and later.step < event.step for later in events[at + 1 :])
    ]
    assert effective(events) == expected
