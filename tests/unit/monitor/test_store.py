"""Every number is kept, and any range of it is summed up right."""

from __future__ import annotations

import math
from array import array
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from support.screens import follower

from neat.events.schema import SUPERSEDED_BY_RESUME, Event
from neat.monitor.pyramid import BLOCK, Pyramid
from neat.monitor.series import line
from neat.monitor.store import MAX_COLUMNS, MAX_PARTS, Store, Table

VALUES = st.lists(st.one_of(st.floats(-100, 100, width=32), st.just(math.nan)), max_size=BLOCK * BLOCK + 40)


def plain(values: list[float]) -> tuple[float | None, float | None, int]:
    finite = [value for value in values if math.isfinite(value)]
    return (min(finite), max(finite), len(finite)) if finite else (None, None, 0)


@settings(max_examples=60)
@given(VALUES, st.data())
def test_a_pyramid_says_what_the_values_say(values: list[float], data: st.DataObject) -> None:
    column = array("f", values)
    pyramid = Pyramid(column)
    for _ in range(6):
        match data.draw(st.sampled_from(("ask", "grow", "cut"))):
            case "grow":
                column.extend(data.draw(VALUES))
            case "cut":
                length = data.draw(st.integers(0, len(column)))
                del column[length:]
                pyramid.cut(length)
        start = data.draw(st.integers(0, len(column)))
        stop = data.draw(st.integers(0, len(column)))
        extent = pyramid.extent(start, stop)
        low, high, count = plain(list(column[start:stop]))
        assert extent.count == count
        if count:
            assert (extent.low, extent.high) == (low, high)
            total = math.fsum(value for value in column[start:stop] if math.isfinite(value))
            assert math.isclose(extent.total, total, rel_tol=1e-5, abs_tol=1e-2)


def test_a_metric_that_an_event_lacks_is_a_gap() -> None:
    table = Table(ordered=True)
    table.extend([1, 2], [0.0, 1.0], [{"a": 1.0}, {"a": 2}])
    table.extend([3], [2.0], [{"b": 5.0, "text": "no number", "flag": True}])
    table.extend([4], [3.0], [{"a": None, "b": 6.0}])
    table.extend([5], [4.0], [{"a": 10**400, "b": 7.0}])
    assert list(table.columns) == ["a", "b", "flag"]
    assert {len(column) for column in table.columns.values()} == {5}
    assert [value for value in table.columns["a"] if math.isfinite(value)] == [1.0, 2.0]
    assert table.last("a") == 2.0
    assert table.last("b", 3) == 5.0
    assert table.row(2) == {"b": 5.0, "flag": 1.0}


def test_parts_of_lists_and_tables_are_metrics() -> None:
    table = Table(ordered=True)
    table.extend([1], [0.0], [{"norm": {"core": 1.5, "name": "x"}, "mean": [0.5, None, 2]}])
    table.extend([2], [1.0], [{"norm": {"core": 2.5, "memory": 1}, "mean": list(range(200))}])
    assert table.columns["norm[core]"].tolist() == [1.5, 2.5]
    assert table.columns["mean[2]"].tolist() == [2.0, 2.0]
    assert math.isnan(table.columns["norm[memory]"][0])
    assert f"mean[{MAX_PARTS}]" not in table.columns


def test_garbage_cannot_ask_for_columns_without_end() -> None:
    table = Table(ordered=True)
    for start in range(0, MAX_COLUMNS + 500, 50):
        table.extend([start], [0.0], [{f"metric {start + place}": 1.0 for place in range(50)}])
    assert len(table.columns) == MAX_COLUMNS
    assert table.refused >= 450


def test_a_resume_cuts_the_course_and_nothing_else() -> None:
    store = Store(SUPERSEDED_BY_RESUME)
    for kind in ("step", "system"):
        store.table(kind).extend([1, 2, 3], [0.0, 1.0, 2.0], [{"x": 1.0}, {"x": 2.0}, {"x": 3.0}])
    store.table("step").extent("x", 0, 3)
    store.cut(2)
    assert list(store.table("step").steps) == [1, 2]
    assert len(store.table("system")) == 3
    assert store.table("step").extent("x", 0, 9).high == 2.0


def test_a_name_of_two_types_says_which() -> None:
    store = Store(SUPERSEDED_BY_RESUME)
    store.table("step").extend([1], [0.0], [{"svf/entropy": 1.0}])
    store.table("eval").extend([1], [0.0], [{"svf/entropy": 2.0}])
    assert {name: metric.table.last(metric.column) for name, metric in store.metrics().items()} == {
        "svf/entropy": 1.0, "eval: svf/entropy": 2.0,
    }  # fmt: skip


def test_drawing_decimates_to_the_extents_of_columns(tmp_path: Path) -> None:
    """However many points there are, a line has a point per column of dots, and none of its peaks is lost."""
    from neat.events.schema import encode

    values = [math.sin(step / 700) + (9.0 if step == 7777 else 0.0) for step in range(20_000)]
    events = [
        Event(step + 1, 1.0 + step, float(step), "step", step, {"x/y": value}) for step, value in enumerate(values)
    ]
    (tmp_path / "events.jsonl").write_bytes(b"".join(map(encode, events)))
    run = follower(tmp_path).snapshot()
    (drawn,) = line(run, run.metrics["x/y"], 0, 19_999, 300, style="line1")
    points = [point for point in drawn.points if point is not None]
    assert len(points) <= 300
    assert max(point[2] for point in points) > 8.0
    (near,) = line(run, run.metrics["x/y"], 7700, 7900, 300, style="line1")
    assert len([point for point in near.points if point is not None]) in range(200, 206)
    behind, smooth = line(run, run.metrics["x/y"], 0, 19_999, 300, style="line1", smoothing=0.1)
    assert max(point[2] for point in behind.points if point) > 8.0
    assert max(point[2] for point in smooth.points if point) < 1.1
