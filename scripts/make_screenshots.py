"""Draws every screen of the monitor for the documentation.

Usage: ``python scripts/make_screenshots.py RUN [--size 120x36]``. Writes docs/images/monitor/SCREEN.svg, and
overview-light.svg, from the events of the run directory RUN. The clock stands half a minute after the last event, so
that the same run always makes the same pictures.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from neat.events.rundir import RunPaths
from neat.monitor.bindings import TITLES
from neat.monitor.follow import Follower
from neat.monitor.printing import drawn, parse_size
from neat.monitor.svg import as_svg
from neat.monitor.theme import THEMES

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images" / "monitor"
AFTER_S = 30.0


def main() -> None:
    """Writes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--size", default="120x36")
    arguments = parser.parse_args()
    os.environ["TZ"] = "UTC"
    time.tzset()
    width, height = parse_size(arguments.size)
    first = Follower(RunPaths(arguments.run))
    first.read_all()
    newest = first.snapshot().course.newest
    if newest is None:
        parser.error(f"{arguments.run} has no events")
    follower = Follower(RunPaths(arguments.run), f"runs/{arguments.run.name}", clock=lambda: newest.time + AFTER_S)
    follower.read_all()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for screen in TITLES:
        for theme in ("dark", "light") if screen == "overview" else ("dark",):
            name = screen if theme == "dark" else f"{screen}-{theme}"
            canvas = drawn([follower], screen, width, height)
            picture = as_svg(canvas, THEMES[theme], f"neat monitor: {screen}")
            (FOLDER / f"{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
