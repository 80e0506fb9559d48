"""Upload a checkpoint of a run to a model hub, or go on with uploads that wait.

The token comes from HF_TOKEN or from `hf auth login`. A new repository is private.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neat.cli.arguments import add_json_option, print_json, print_table, say
from neat.errors import CheckpointError, HubError, UsageError

if TYPE_CHECKING:
    from neat.events.spool import Spool


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `neat upload`."""
    parser.add_argument("path", type=Path, metavar="RUN", help="run directory, one checkpoint of it, or an export")
    parser.add_argument("--repo", default="", metavar="OWNER/NAME", help="repository (default: hub.repo of the run)")
    parser.add_argument("--public", action="store_true", help="make it public, or publish in one that is")
    parser.add_argument("--checkpoint", type=int, metavar="STEP", help="step of the checkpoint (default: the newest)")
    parser.add_argument(
        "--tag", action=argparse.BooleanOptionalAction, help="tag the commit with the step, or not (default: hub.tag)"
    )
    parser.add_argument("--license", default=None, metavar="ID", help="licence of the weights, such as mit")
    parser.add_argument("--onto", default="", metavar="COMMIT", help="go on top of this commit of somebody else")
    parser.add_argument("--dry-run", action="store_true", help="write the files of the upload to --to, and ask nobody")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where --dry-run writes (default: RUN/exports/STEP)")
    parser.add_argument("--resume", action="store_true", help="only go on with uploads that wait or failed")
    parser.add_argument("--status", action="store_true", help="only show what waits and what was done")
    add_json_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Uploads, exports or shows; returns the exit code."""
    _check(arguments)
    if not arguments.path.exists():
        raise CheckpointError(f"there is no `{arguments.path}`", hint="name a run directory")
    if arguments.status:
        return _status(arguments)
    if arguments.dry_run:
        return _dry_run(arguments)
    return _resume(arguments) if arguments.resume else _upload(arguments)


def _check(arguments: argparse.Namespace) -> None:
    if sum((arguments.dry_run, arguments.resume, arguments.status)) > 1:
        raise UsageError("--dry-run, --resume and --status exclude each other")
    if arguments.to is not None and not arguments.dry_run:
        raise UsageError("--to belongs to --dry-run")
    if arguments.onto and not re.fullmatch(r"[0-9a-f]{7,40}", arguments.onto):
        raise UsageError(f"--onto {arguments.onto[:80]} is not a commit", hint="seven to forty hexadecimal digits")
    from neat.config.hub import REPO

    if arguments.repo and not re.fullmatch(REPO, arguments.repo):
        hint = "write OWNER/NAME: letters, digits, dash, dot and underscore"
        raise HubError(f"{arguments.repo[:120]!r} is not the name of a repository", hint)


def _upload(arguments: argparse.Namespace) -> int:
    from neat.hub.push import order_for, push  # torch

    source, order = order_for(
        arguments.path,
        arguments.checkpoint,
        **_changes(arguments),
    )
    _show(arguments, push(source, order, say))
    return 0


def _changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the command line says against the configuration of the run."""
    given: dict[str, Any] = {"onto": arguments.onto}
    given |= {"repo": arguments.repo} if arguments.repo else {}
    given |= {"public": True} if arguments.public else {}
    given |= {"tag": arguments.tag} if arguments.tag is not None else {}
    return given | ({"license": arguments.license} if arguments.license is not None else {})


def _resume(arguments: argparse.Namespace) -> int:
    from neat.hub.upload import upload

    spool = _spool(arguments.path)
    again = spool.retry()
    waiting = len(spool.waiting())
    say(f"{waiting} uploads wait" + (f", {again} of them failed before" if again else ""))
    _show(arguments, upload(spool, say) if waiting else [])
    return 0


def _status(arguments: argparse.Namespace) -> int:
    spool = _spool(arguments.path)
    waiting = {
        job.folder.name: {
            "repo": job.order.repo,
            **{key: job.state().get(key) for key in ("state", "attempt", "reason")},
        }
        for job in spool.jobs()
    }
    lines, _ = spool.status()
    done = {f"step-{line['checkpoint']:08d}": line.get("commit") for line in lines if line["state"] == "done"}
    (print_json if arguments.json else print_table)({"waiting": waiting, "done": done})
    return 0


def _dry_run(arguments: argparse.Namespace) -> int:
    from neat.hub.export import export, find_checkpoint  # torch
    from neat.train.loading import read_config, run_of

    folder = find_checkpoint(arguments.path, arguments.checkpoint)
    hub = read_config(folder).hub
    target = arguments.to or (run_of(folder) or arguments.path) / "exports" / folder.name
    chosen = arguments.license if arguments.license is not None else hub.license
    made = export(folder, target, license=chosen, repo=arguments.repo or hub.repo)
    files = {name: {"bytes": (target / name).stat().st_size, "sha256": made.sums[name]} for name in sorted(made.sums)}
    if arguments.json:
        print_json({"folder": str(target), "bytes": made.num_bytes, "files": files})
    else:
        print_table({name: f"{entry['bytes']:>12,} bytes  sha256 {entry['sha256']}" for name, entry in files.items()})
        say(f"{target}: {made.num_bytes:,} bytes; nothing was uploaded")
    return 0


def _show(arguments: argparse.Namespace, ended: list[dict[str, Any]]) -> None:
    if arguments.json:
        print_json({"uploads": [{key: value for key, value in line.items() if key != "time"} for line in ended]})


def _spool(path: Path) -> Spool:
    from neat.events.rundir import RunPaths
    from neat.events.spool import Spool

    if not RunPaths(path).is_run():
        raise CheckpointError(f"{path} is not a run directory", hint="uploads wait in the run directory")
    return Spool(path)
