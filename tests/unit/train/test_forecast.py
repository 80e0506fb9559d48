"""Forecasts of how a branch ends, on courses whose end is known."""

from __future__ import annotations

import math
import random

import pytest

from neat.train.forecast import BINS, DECAY_SIGMA, EARLIEST, Course, LogLinear, Rival

END = 20_000


def course(value: float, slope: float, batch: int, noise: float = 0.0, until: float = 1.0) -> Course:
    """Losses `value * share^-slope` of a branch of 20000 positions, up to `until` of it."""
    chooser, found = random.Random(4), Course(END)
    for read in range(batch, round(END * until) + 1, batch):
        found.add(batch, value * (read / END) ** -slope * math.exp(noise * chooser.gauss(0, 1)))
    return found


def test_a_power_law_is_continued_exactly() -> None:
    line = LogLinear()
    for share in range(1, 11):
        line.observe(share / BINS, 0.3 - 0.2 * math.log(share / BINS))
    found = line.ahead(1.0)
    assert found is not None
    assert found.mean == pytest.approx(0.3) and found.sigma < 1e-6
    beyond = line.ahead(50.0)
    assert beyond is not None and beyond.mean == pytest.approx(0.3 - 0.2 * math.log(50))


def test_nothing_is_said_of_a_few_points() -> None:
    line = LogLinear()
    for share in range(1, EARLIEST):
        line.observe(share / BINS, 1.0)
        assert line.ahead(1.0) is None


def test_the_interval_holds_what_it_should() -> None:
    """Of 400 noisy lines about one in twenty ends outside two standard deviations; more noise, wider intervals."""
    chooser, inside, widths = random.Random(1), 0, []
    for number in range(400):
        line, noise = LogLinear(), 0.02 * (1 + number % 2)
        for share in range(1, 16):
            line.observe(share / BINS, 1 - 0.1 * math.log(share / BINS) + chooser.gauss(0, noise))
        found = line.ahead(1.0)
        assert found is not None
        inside += abs(1 + chooser.gauss(0, noise) - found.mean) < 2 * found.sigma
        widths.append(found.sigma)
    assert 0.85 < inside / 400 < 0.99
    assert sum(widths[1::2]) > 1.5 * sum(widths[::2])


@pytest.mark.parametrize("batch", [250, 500, 1000, 2500])
def test_courses_of_any_batch_have_equal_parts(batch: int) -> None:
    found = course(2.0, 0.0, batch)
    assert found.parts == pytest.approx([2.0] * BINS) and found.share == 1.0


def test_a_branch_that_falls_behind_is_hopeless_and_one_that_catches_up_is_not() -> None:
    best = course(1.0, 0.2, 250)
    behind = Rival(best, 0.6, LogLinear()).hopeless(course(1.5, 0.1, 250, noise=0.01, until=0.5))
    assert behind is not None and behind.lower > 0 and math.exp(behind.mean) == pytest.approx(1.5, rel=0.1)
    assert Rival(best, 0.6, LogLinear()).hopeless(course(1.02, 0.25, 250, until=0.5)) is None
    assert Rival(best, 0.6, LogLinear()).hopeless(course(0.9, 0.2, 250, until=0.5)) is None


def test_what_the_decay_may_still_change_is_left_open() -> None:
    """A branch that is a little worse goes on before the decay and is cut late in it."""
    best, slightly = course(1.0, 0.2, 250), math.exp(1.5 * DECAY_SIGMA)
    early, late = (course(slightly, 0.2, 250, until=until) for until in (0.5, 0.95))
    assert Rival(best, 0.6, LogLinear()).hopeless(early) is None
    assert Rival(best, 0.6, LogLinear()).hopeless(late) is not None


def test_a_lead_that_shrinks_is_not_held_against_a_branch() -> None:
    late = Course(END)
    for part in range(BINS):
        late.add(END // BINS, 4.0 if part < 6 else max(1.1, 4.0 - 0.4 * (part - 5)))
    early = course(1.2, 0.0, END // BINS, until=0.6)
    line = LogLinear()
    assert Rival(late, 0.6, line).hopeless(early) is None
    found = line.ahead(1.0)
    assert found is not None and found.lower > 0, "the line alone says that the lead is lost"


def test_a_finished_branch_is_not_judged_by_a_forecast() -> None:
    assert Rival(course(1.0, 0.2, 250), 0.6, LogLinear()).hopeless(course(3.0, 0.2, 250)) is None
