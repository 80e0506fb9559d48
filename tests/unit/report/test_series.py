"""Curves that are cut into columns while they arrive."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neat.report.series import Series, decimated, is_number, is_rough, smoothed

values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400)


@given(values, st.integers(1, 20))
def test_what_is_kept_has_the_outline_of_everything(ys: list[float], columns: int) -> None:
    series = Series(columns)
    points = list(enumerate(ys))
    for x, y in points:
        series.add(x, y)
    kept = series.points()
    assert set(kept) <= set(points)
    assert kept == sorted(kept)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    assert {min(ys), max(ys)} <= {y for _, y in kept}
    assert len(kept) <= 8 * columns + 4
    assert series.count == len(ys)
    assert (series.first, series.last) == (points[0], points[-1])
    assert (series.least[1], series.greatest[1]) == (min(ys), max(ys))
    assert series.mean == pytest.approx(math.fsum(ys) / len(ys), abs=1e-6)


@given(values)
def test_a_short_curve_is_kept_whole(ys: list[float]) -> None:
    points = list(enumerate(ys))
    assert decimated(points, 400) == points


def test_columns_are_evenly_wide() -> None:
    series = Series(10)
    for x in range(10_000):
        series.add(x, 0.0 if x != 7_777 else 9.0)
    assert (7_777, 9.0) in series.points()
    places = [x for x, _ in series.trend()]
    gaps = [after - before for before, after in pairwise(places)]
    assert max(gaps[:-1]) == pytest.approx(min(gaps[:-1]), rel=0.01)
    assert sum(y for _, y in series.trend()) > 0


def test_points_at_one_place_stay_in_their_order() -> None:
    series = Series(4)
    for y in (3.0, 1.0, 5.0, 2.0):
        series.add(1.0, y)
    assert series.first == (1.0, 3.0)
    assert series.last == (1.0, 2.0)
    assert {y for _, y in series.points()} == {3.0, 1.0, 5.0, 2.0}


def test_smoothing_has_no_lag() -> None:
    line = [(float(x), 2.0 * x) for x in range(200)]
    assert smoothed(line)[100] == pytest.approx((100.0, 200.0))
    assert smoothed([(0.0, 5.0)]) == [(0.0, 5.0)]
    assert smoothed([]) == []


def test_only_restless_curves_are_rough() -> None:
    assert not is_rough([(float(x), float(x)) for x in range(500)])
    assert is_rough([(float(x), float(x % 2)) for x in range(500)])
    assert not is_rough([(float(x), 1.0) for x in range(500)])
    assert not is_rough([(0.0, 1.0), (1.0, 0.0)])


@pytest.mark.parametrize("value", [True, None, "1", math.inf, math.nan, 10**400, [1]])
def test_no_numbers(value: object) -> None:
    assert not is_number(value)
    assert is_number(1)
    assert is_number(-0.5)
