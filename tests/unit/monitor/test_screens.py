"""Every screen at every size, as text; the real app draws it, and `--print` draws the same."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from support.screens import SIZES, compare, follower, shown, text_of, with_app
from textual.pilot import Pilot

from neat.events.schema import TYPES
from neat.monitor.app import MonitorApp
from neat.monitor.bindings import TITLES
from neat.monitor.printing import as_text, drawn

EVERY = [(screen, size) for screen in TITLES for size in SIZES]


@pytest.mark.parametrize(
    ("screen", "size"), EVERY, ids=lambda part: part if isinstance(part, str) else "x".join(map(str, part))
)
def test_a_screen_of_a_recorded_run(recorded: Path, screen: str, size: tuple[int, int]) -> None:
    compare(shown([recorded], screen, size), f"real/{screen}-{size[0]}x{size[1]}")


@pytest.mark.parametrize(
    ("screen", "size"), EVERY, ids=lambda part: part if isinstance(part, str) else "x".join(map(str, part))
)
def test_a_screen_with_prediction_gpu_and_uploads(made_up: Path, screen: str, size: tuple[int, int]) -> None:
    compare(shown([made_up], screen, size), f"made-up/{screen}-{size[0]}x{size[1]}")


@pytest.mark.parametrize(
    ("name", "screen", "keys"),
    [
        ("zoomed", "charts", ["plus", "plus", "comma", "l", "s"]),
        ("opened", "charts", ["right", "right", "right", "enter"]),
        ("by-time", "charts", ["x"]),
        ("replay", "overview", ["left_curly_bracket"] * 10),
        ("replay-log", "log", ["left_curly_bracket"] * 10),
        ("alerts", "log", ["a"]),
        ("only-phases", "log", ["f"] * (2 + list(TYPES).index("phase"))),
    ],
)
def test_a_screen_after_keys(made_up: Path, name: str, screen: str, keys: list[str]) -> None:
    compare(shown([made_up], screen, (100, 30), keys), f"keys/{name}")


def test_two_runs_in_one_chart(recorded: Path, made_up: Path) -> None:
    compare(shown([recorded, made_up], "charts", (120, 40), ["n"]), "keys/two-runs")


@pytest.mark.parametrize("screen", TITLES)
def test_printing_draws_what_the_app_shows(made_up: Path, screen: str) -> None:
    printed = as_text(drawn([follower(made_up)], screen, 100, 30))
    assert printed == shown([made_up], screen, (100, 30))


@pytest.mark.parametrize("screen", TITLES)
def test_a_terminal_without_utf8_gets_ascii(made_up: Path, screen: str) -> None:
    text = shown([made_up], screen, (80, 24), ascii_only=True)
    assert text.isascii()
    assert "?" not in text.replace("9 ?", "").replace("question", "") or screen == "help"


def test_a_small_terminal_gets_a_sentence(recorded: Path) -> None:
    text = shown([recorded], "overview", (40, 10))
    assert "the monitor needs 60 x 18 characters" in text
    assert "this is 40 x 10" in text


def test_colours_are_left_out_where_nobody_wants_them(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    colours: set[object] = set()

    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        for strip in app.screen._compositor.render_strips():
            for segment in strip:
                triplet = segment.style.color.triplet if segment.style and segment.style.color else None
                colours.add(triplet is None or max(triplet) - min(triplet) <= 1)

    with_app([recorded], act)
    assert colours == {True}


def test_a_storm_of_sizes_is_survived(made_up: Path) -> None:
    chooser = random.Random(3)

    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        for screen in TITLES:
            app.action_show(screen)
            for _ in range(12):
                await pilot.resize_terminal(chooser.randrange(1, 220), chooser.randrange(1, 70))
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        app.action_show("overview")
        await pilot.pause()
        assert text_of(app) == expected

    expected = shown([made_up], "overview", (80, 24))
    with_app([made_up], act)


def test_an_empty_directory_is_drawn(tmp_path: Path) -> None:
    for screen in TITLES:
        for size in SIZES:
            text = shown([tmp_path], screen, size)
            assert "waiting" in text


def test_clicks_choose_screens_charts_and_keys(made_up: Path) -> None:
    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        await pilot.click(offset=(15, 1))
        assert app._current == "charts"
        await pilot.click(offset=(70, 20))
        chosen = app._screens["charts"].chosen  # type: ignore[attr-defined]
        assert chosen > 0
        await pilot.click(offset=(70, 20))
        assert app._screens["charts"].opened  # type: ignore[attr-defined]
        await pilot.click(offset=(2, 29))
        assert app._looking.looks.view.low is not None
        app._face.post_message(app._face.Wheel(1))
        await pilot.pause()
        assert app._looking.looks.view.low is None

    with_app([made_up], act)


def test_news_of_the_reader_is_shown(recorded: Path, tmp_path: Path) -> None:
    """The thread reads while the app runs: a growing file appears without a key."""
    run = tmp_path / "growing"
    run.mkdir()
    lines = (recorded / "events.jsonl").read_bytes().splitlines(keepends=True)
    (run / "events.jsonl").write_bytes(b"".join(lines[:40]))

    async def main() -> None:
        app = MonitorApp([follower(run)], "overview", live=True)
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.pause(0.1)
            before = app.run_in_front.step
            with (run / "events.jsonl").open("ab") as file:
                file.write(b"".join(lines[40:]))
            for _ in range(100):
                await pilot.pause(0.05)
                if app.run_in_front.step == 240:
                    break
            assert before < 240
            assert app.run_in_front.step == 240
            assert "240" in text_of(app)

    asyncio.run(main())
