"""The length of a run and its windows, with a clock that the test turns."""

from __future__ import annotations

import pytest

from neat.config.schema import Train
from neat.train import horizon as module
from neat.train.horizon import Clock, Horizon

CURRICULUM = ((0.15, 64), (0.20, 128))


def settings(**changes: object) -> Train:
    """256-byte windows after two shorter ones."""
    base: dict[str, object] = {"budget": "", "batch_bytes": 2048, "window": 256, "curriculum": CURRICULUM}
    return Train.model_validate(base | changes)


class Time:
    """Stands in for `time`: moves only when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        """The present moment."""
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """The clock that the code under test reads."""
    fake = Time()
    monkeypatch.setattr(module, "time", fake)
    return fake


def test_steps_are_steps() -> None:
    assert Horizon.start(settings(max_steps=17)).total == 17


def test_bytes_become_whole_steps() -> None:
    assert Horizon.start(settings(max_bytes=2048 * 5)).total == 5
    assert Horizon.start(settings(max_bytes=2048 * 5 + 1)).total == 6
    assert Horizon.start(settings(max_bytes=1)).total == 1


def test_windows_change_at_their_shares_of_the_steps() -> None:
    train = settings(max_steps=100)
    horizon = Horizon.start(train)
    windows = [horizon.advance(train, step) for step in range(100)]
    assert windows == [64] * 15 + [128] * 20 + [256] * 65
    assert horizon.window(train) == 256


def test_asking_for_the_window_changes_nothing() -> None:
    train = settings(max_steps=100)
    horizon = Horizon.start(train)
    horizon.advance(train, 20)
    before = repr(horizon)
    assert horizon.window(train) == 128 and repr(horizon) == before


def test_a_stage_is_not_left_backwards() -> None:
    train = settings(max_steps=100)
    horizon = Horizon.start(train)
    assert horizon.advance(train, 15) == 128
    horizon.total = 1000
    assert horizon.advance(train, 16) == 128
    assert horizon.advance(train, 350) == 256


def simulate(train: Train, time: Time, step_s: dict[int, float], restart: int = -1) -> tuple[Horizon, list[int], int]:
    """Runs a budget with the seconds a step costs at each window: horizon, windows, number of estimates."""
    horizon, windows, estimates = Horizon.start(train), [], 0
    clock = Clock(train, horizon)
    step = 0
    while step < horizon.total:
        windows.append(horizon.advance(train, step))
        if step == restart:
            time.now += 10_000
            clock = Clock(train, horizon)
        time.now += step_s[windows[-1]] * (20 if step == 0 else 1)
        step += 1
        estimates += clock.tick(step)
    return horizon, windows, estimates


def test_a_budget_is_met_although_windows_differ_in_speed(time: Time) -> None:
    horizon, windows, estimates = simulate(settings(budget="300s"), time, {64: 0.1, 128: 0.15, 256: 0.25})
    assert horizon.spent_s == pytest.approx(300, rel=0.01)
    assert estimates == 3
    assert windows == sorted(windows) and set(windows) == {64, 128, 256}


def test_time_between_attempts_is_not_training(time: Time) -> None:
    horizon, *_ = simulate(settings(budget="300s"), time, {64: 0.1, 128: 0.15, 256: 0.25}, restart=900)
    assert horizon.spent_s == pytest.approx(300, rel=0.01)


def test_paused_time_is_not_training(time: Time) -> None:
    train = settings(budget="300s")
    horizon = Horizon.start(train)
    clock = Clock(train, horizon)
    time.now += 2
    clock.tick(1)
    time.now += 500
    clock.pause()
    time.now += 3
    clock.tick(2)
    assert horizon.spent_s == pytest.approx(5)


def test_a_budget_that_is_over_ends_the_run_at_once(time: Time) -> None:
    horizon, windows, _ = simulate(settings(budget="2s", curriculum=()), time, {256: 1.0})
    assert len(windows) == horizon.total < module.SETTLING_STEPS + module.MEASURED_STEPS + 5


def test_a_length_in_steps_is_never_estimated(time: Time) -> None:
    _, windows, estimates = simulate(settings(max_steps=200), time, {64: 1, 128: 1, 256: 1})
    assert (len(windows), estimates) == (200, 0)


def test_stages_are_the_union_of_both_curricula() -> None:
    train = settings(max_steps=100, patch_curriculum=((0.2, 8.0), (0.3, 6.0)))
    assert [(stage.window, stage.patch_length) for stage in train.stages] == [
        (64, 8.0), (128, 8.0), (128, 6.0), (256, 6.0), (256, None),
    ]  # fmt: skip
    horizon = Horizon.start(train)
    seen = []
    for step in range(100):
        horizon.advance(train, step)
        seen.append(horizon.present(train))
    assert [seen.count(stage) for stage in train.stages] == [15, 5, 15, 15, 50]


def test_boundaries_that_differ_by_rounding_are_one() -> None:
    train = settings(max_steps=100, curriculum=((0.1, 64), (0.2, 128)), patch_curriculum=((0.3, 8.0),))
    assert [(stage.window, stage.patch_length) for stage in train.stages] == [(64, 8.0), (128, 8.0), (256, None)]


def test_every_stage_of_patches_is_timed_on_its_own(time: Time) -> None:
    train = settings(budget="100s", curriculum=(), patch_curriculum=((0.5, 8.0),))
    horizon = Horizon.start(train)
    clock, estimates = Clock(train, horizon), []
    for step in range(1, 400):
        horizon.advance(train, step - 1)
        time.now += 0.2 if horizon.stage == 0 else 0.4
        if clock.tick(step):
            estimates.append((horizon.stage, horizon.total))
    assert [stage for stage, _ in estimates] == [0, 1]
    assert horizon.measured == 2
