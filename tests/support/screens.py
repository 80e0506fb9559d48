"""Screens as text: run the real app without a terminal, compare what it shows with a file.

`NEAT_UPDATE_SCREENS=1` writes the files anew; look at the difference before you commit it.
"""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from textual.pilot import Pilot

from neat.events.rundir import RunPaths
from neat.monitor.app import MonitorApp
from neat.monitor.follow import Follower

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "monitor"
SIZES = ((60, 18), (80, 24), (120, 40), (200, 60))
AFTER_S = 42.0
"""The clock of the tests stands so long after the last event of the run."""


def follower(run: Path, after_s: float = AFTER_S) -> Follower:
    """A reader of a run that has read everything, and whose clock stands still."""
    reader = Follower(RunPaths(run))
    reader.read_all()
    newest = reader.snapshot().course.newest
    now = (newest.time if newest is not None else 0.0) + after_s
    still = Follower(RunPaths(run), str(run.name), clock=lambda: now)
    still.read_all()
    return still


def text_of(app: MonitorApp) -> str:
    """What is on the terminal, without trailing blanks."""
    strips = app.screen._compositor.render_strips()
    return "".join("".join(segment.text for segment in strip).rstrip() + "\n" for strip in strips)


def with_app(
    runs: Sequence[Path],
    act: Callable[[MonitorApp, Pilot[None]], Awaitable[None]],
    size: tuple[int, int] = (100, 30),
    screen: str = "overview",
    **options: bool,
) -> None:
    """Runs the app on runs that do not change, and `act` in it."""

    async def main() -> None:
        app = MonitorApp([follower(run) for run in runs], screen, **({"live": False} | options))
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await act(app, pilot)

    asyncio.run(main())


def shown(runs: Sequence[Path], screen: str, size: tuple[int, int], keys: Sequence[str] = (), **options: bool) -> str:
    """A screen after some keys."""
    found: list[str] = []

    async def act(app: MonitorApp, pilot: Pilot[None]) -> None:
        await pilot.press(*keys)
        await pilot.pause()
        found.append(text_of(app))

    with_app(runs, act, size, screen, **options)
    return found[0]


def compare(text: str, name: str) -> None:
    """Fails with the difference where `text` is not that of the golden file."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("NEAT_UPDATE_SCREENS"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"there is no {path}; NEAT_UPDATE_SCREENS=1 writes it"
    expected = path.read_text(encoding="utf-8")
    difference = difflib.unified_diff(expected.splitlines(), text.splitlines(), "expected", "shown", lineterm="")
    assert text == expected, "\n".join(difference)
