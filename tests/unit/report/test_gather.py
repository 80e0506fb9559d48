"""Collections that stay small."""

from __future__ import annotations

import pytest

from neat.report.gather import Amounts, Kept, Lanes, clipped, listed


def test_the_first_and_the_last_rows_are_kept() -> None:
    kept = Kept(limit=6)
    for step in range(100):
        kept.add({"step": step})
    assert [row["step"] for row in kept] == [0, 1, 2, 97, 98, 99]
    assert (kept.count, kept.left_out) == (100, 94)
    few = Kept(limit=6)
    for step in range(5):
        few.add({"step": step})
    assert ([row["step"] for row in few], few.left_out) == ([0, 1, 2, 3, 4], 0)


def test_lanes_know_when_and_how_long() -> None:
    lanes = Lanes()
    for state, step in (("WARMUP", 0), ("FULL", 10), ("PREDICT", 30), ("CORRECT", 30), ("FULL", 35)):
        lanes.enter(state, step)
    lanes.reach(50)
    assert lanes.spans("FULL") == [(10, 30), (35, 50)]
    assert lanes.spans("PREDICT") == [(30, 30)]
    assert lanes.steps == {"WARMUP": 10, "FULL": 35, "CORRECT": 5}
    assert lanes.visits == {"WARMUP": 1, "FULL": 2, "PREDICT": 1, "CORRECT": 1}


def test_many_spans_become_coarse_but_steps_stay_exact() -> None:
    lanes = Lanes(most=16)
    for step in range(0, 10_000, 2):
        lanes.enter("FULL", step)
        lanes.enter("CORRECT", step + 1)
    lanes.reach(10_000)
    assert len(lanes.spans("FULL")) <= 18
    assert lanes.steps == {"FULL": 5000, "CORRECT": 5000}
    assert lanes.spans("FULL")[0][0] == 0


def test_no_stranger_fills_the_lanes() -> None:
    lanes = Lanes()
    for step in range(1000):
        lanes.enter(f"state {step}", step)
    assert len(lanes.visits) == 16


def test_amounts_are_means_by_time() -> None:
    amounts = Amounts(columns=4)
    for step in range(100):
        amounts.add(step, {"a": step, "b": 1.0} if step % 2 else {"a": step})
    amounts.add(100, "no table")
    amounts.add(100, {"a": float("nan"), "c": "text"})
    assert len(amounts.places) <= 9
    assert amounts.row("b") == [1.0] * len(amounts.places)
    first = [value for value in amounts.row("a") if value is not None]
    assert first == sorted(first)
    assert amounts.totals == {"a": sum(range(100)), "b": 50.0}
    assert amounts.row("c") == [None] * len(amounts.places)


def test_events_are_clipped() -> None:
    data = clipped({"text": "x" * 900, "list": list(range(900)), "deep": {str(n): n for n in range(900)}}, 100)
    assert len(str(data["text"])) == 101
    assert len(data["list"]) == len(data["deep"]) == 64  # type: ignore[arg-type]


def test_numbers_by_name() -> None:
    assert listed([0.5, None], [20, 100]) == {"20": 0.5, "100": None}
    assert listed([0.5, 1.0], "no names") == {"1": 0.5, "2": 1.0}
    assert listed({"a": 1, "b": "x"}) == {"a": 1.0, "b": None}
    assert listed(3) == {}


@pytest.mark.parametrize("columns", [1, 7, 60])
def test_amounts_stay_few(columns: int) -> None:
    amounts = Amounts(columns)
    for step in range(5000):
        amounts.add(step, {str(step % 400): 1.0})
    assert len(amounts.places) <= 2 * columns + 1
    assert len(amounts.totals) == 160
