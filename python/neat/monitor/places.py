"""Where runs are: named on the command line, the newest one under a folder, or on another machine."""

from __future__ import annotations

import re
from pathlib import Path

from neat.errors import CheckpointError, UsageError
from neat.events.rundir import RunPaths
from neat.monitor.follow import Follower
from neat.monitor.remote import Mirror

DEFAULT_FOLDER = Path("runs")

_REMOTE = re.compile(r"(?P<host>(?:[\w.+-]+@)?(?:[\w.-]+|\[[0-9a-fA-F:.]+\])):(?P<path>.+)")


def open_runs(names: list[str], mirrors: list[Mirror], *, wait: bool = False) -> list[Follower]:
    """A reader for each run named, or for the newest under `runs`; copies of remote ones are added to `mirrors`.

    With `wait` a directory that does not exist yet is taken too: somebody is about to make it.

    Raises:
        CheckpointError: There is no run.
        UsageError: The name of another machine makes no sense.
    """
    if not names:
        found = runs_under(DEFAULT_FOLDER)
        if not found:
            raise CheckpointError(
                f"there is no run under {DEFAULT_FOLDER}/", hint="name a run directory: neat monitor RUN"
            )
        names = [str(found[0])]
    return [_open(name, mirrors, wait=wait) for name in names]


def runs_under(folder: Path) -> list[Path]:
    """The run directories in a folder, the one written last first."""
    try:
        found = [(_written(RunPaths(path)), path) for path in folder.iterdir() if RunPaths(path).is_run()]
    except OSError:
        return []
    return [path for _, path in sorted(found, reverse=True)]


def _open(name: str, mirrors: list[Mirror], *, wait: bool) -> Follower:
    path = Path(name)
    remote = _REMOTE.fullmatch(name)
    if remote and not path.exists():
        if remote["host"].startswith("-"):
            raise UsageError(f"{name[:80]} does not name a machine", hint="write it as user@host:path")
        mirror = Mirror(remote["host"], remote["path"])
        mirrors.append(mirror)
        return Follower(mirror.paths, name, mirror)
    paths = RunPaths(path)
    if not (wait or paths.is_run() or paths.events.is_file()):
        near = runs_under(path) if path.is_dir() else runs_under(path.parent)
        hint = "runs there: " + ", ".join(map(str, near[:5])) if near else "it has neither config.toml nor events.jsonl"
        raise CheckpointError(f"{path} is not a run directory", hint=hint)
    return Follower(paths)


def _written(paths: RunPaths) -> float:
    try:
        return paths.events.stat().st_mtime
    except OSError:
        return 0.0
