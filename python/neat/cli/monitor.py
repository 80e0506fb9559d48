"""Watch runs in the terminal: phases, loss, speed, machine, samples, events. Reads only; q leaves it."""

from __future__ import annotations

import argparse
import codecs
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from neat.cli.arguments import say
from neat.errors import NeatError, UsageError

if TYPE_CHECKING:
    from neat.monitor.follow import Follower
    from neat.monitor.remote import Mirror

SCREENS = ("overview", "charts", "dynamics", "components", "machine", "samples", "log", "checkpoints", "help")
REMOTE_WAIT_S = 30.0
"""Longest wait for the first news of another machine before a screen is printed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat monitor`."""
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="run directories, also user@host:path over ssh (default: the newest under runs/)",
    )
    parser.add_argument("--list", action="store_true", help="list the runs under runs/, the newest first")
    parser.add_argument("--screen", choices=SCREENS, default="overview", help="first screen (%(default)s)")
    parser.add_argument("--print", choices=SCREENS, dest="printed", help="write one screen as text and exit")
    parser.add_argument("--size", default="100x30", metavar="WxH", help="size of the printed screen (%(default)s)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="file of the printed screen; .svg makes a picture")
    parser.add_argument("--theme", choices=("dark", "light"), default="dark", help="colours of a picture (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Shows, prints or lists runs; returns the exit code."""
    if arguments.list:
        return _list()
    if arguments.output is not None and not arguments.printed:
        raise UsageError("--output goes with --print", hint="name the screen: --print overview")
    from neat.monitor.places import open_runs

    mirrors: list[Mirror] = []
    try:
        followers = open_runs(arguments.runs, mirrors)
        for mirror in mirrors:
            mirror.start()
        return _print(arguments, followers, mirrors) if arguments.printed else watch(followers, arguments.screen)
    finally:
        for mirror in mirrors:
            mirror.close()


def watch(followers: list[Follower], screen: str = "overview") -> int:
    """Runs the terminal program until it is left, and says what goes on."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("the monitor needs a terminal", hint="--print overview writes one screen without one")
    from neat.monitor.app import MonitorApp

    app = MonitorApp(followers, screen, ascii_only=not _speaks_utf8())
    app.run()
    if app.failure is not None:
        raise app.failure
    for follower in followers:
        snapshot = follower.snapshot()
        if snapshot.health.alive:
            say(f"{snapshot.name} goes on: {snapshot.health.text}; neat monitor {snapshot.place} shows it again")
    return 0


def _print(arguments: argparse.Namespace, followers: list[Follower], mirrors: list[Mirror]) -> int:
    from neat.monitor.printing import as_text, drawn, parse_size, write

    width, height = parse_size(arguments.size)
    for mirror in mirrors:
        if not mirror.wait(REMOTE_WAIT_S):
            raise NeatError(
                mirror.trouble or "the other machine says nothing", hint="does ssh work without a password?"
            )
    for follower in followers:
        follower.read_all()
    canvas = drawn(followers, arguments.printed, width, height)
    if arguments.output is None:
        sys.stdout.write(as_text(canvas, ascii_only=not _speaks_utf8()))
    else:
        write(canvas, arguments.output, arguments.theme, f"neat monitor: {arguments.printed}")
    return 0


def _list() -> int:
    from neat.monitor.follow import Follower
    from neat.monitor.places import DEFAULT_FOLDER, runs_under

    found = runs_under(DEFAULT_FOLDER)
    from neat.events.rundir import RunPaths

    for path in found:
        follower = Follower(RunPaths(path))
        follower.step()
        snapshot = follower.snapshot()
        print(f"{path}  {snapshot.health.state}  step {snapshot.step}  {snapshot.health.text}")
    if not found:
        say(f"there is no run under {DEFAULT_FOLDER}/")
    return 0


def _speaks_utf8() -> bool:
    """Whether the terminal takes UTF-8, by the encoding of stdout."""
    if os.environ.get("TERM") == "linux":
        return False  # the console of the kernel has no braille
    try:
        return codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    except LookupError:
        return False
