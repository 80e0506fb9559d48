"""Axes and numbers for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neat.report.scale import axis, binary, duration, number, short

finite = st.floats(-1e12, 1e12, allow_subnormal=False)


@given(st.lists(finite, max_size=20), st.booleans(), st.booleans(), st.booleans())
def test_an_axis_shows_everything(values: list[float], log: bool, zero: bool, tight: bool) -> None:
    found = axis(values, log=log, zero=zero, tight=tight)
    assert found.low < found.high
    assert all(found.low <= value <= found.high or value == pytest.approx(found.low) for value in values)
    assert all(0.0 <= found.place(value) <= 1.0 for value in values)
    assert len(found.ticks) <= 12
    assert list(found.ticks) == sorted(found.ticks)
    assert all(-1e-9 <= (tick - found.low) / (found.high - found.low) <= 1 + 1e-9 for tick in found.ticks)


def test_round_marks() -> None:
    assert axis([0, 400], tight=True, ticks=4).ticks == (0, 100, 200, 300, 400)
    assert axis([0.0, 0.9], zero=True, ticks=4).ticks == pytest.approx((0, 0.25, 0.5, 0.75))
    assert axis([1e-3, 10], log=True).ticks == pytest.approx((1e-3, 1e-2, 1e-1, 1, 10))
    assert axis([3.0, 3.0]).low < 3.0 < axis([3.0, 3.0]).high


def test_an_axis_with_zero_does_not_go_beyond_it() -> None:
    assert axis([0.0, 5.0]).low == 0.0
    assert axis([0.1, 5.0]).low == 0.0
    assert axis([-5.0, -0.1]).high == 0.0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.25, "0.25"), (1500, "1.5k"), (3e6, "3M"), (2e-5, "2e-5"), (-1.5e-4, "-1.5e-4"), (999.96, "1000"),
     (1e9, "1G"), (12, "12")],
)  # fmt: skip
def test_short(value: float, text: str) -> None:
    assert short(value) == text


def test_numbers_of_tables() -> None:
    assert [number(v) for v in (None, 12345, 12345.6, 1.23456, 1e-5, 0.0, float("inf"))] == [
        "–", "12,345", "12,346", "1.235", "1.00e-05", "0", "not finite",
    ]  # fmt: skip


def test_amounts() -> None:
    assert [binary(v) for v in (512, 1536, 3.2 * 2**30, 1010 * 2**20)] == ["512 B", "1.5 KiB", "3.2 GiB", "1,010 MiB"]
    assert [duration(v) for v in (0.42, 12.2, 185, 7800, 97200)] == [
        "0.42 s",
        "12 s",
        "3 min 5 s",
        "2 h 10 min",
        "1 d 3 h",
    ]
