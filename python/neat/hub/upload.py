"""Uploads by hand: queues a checkpoint, lets the uploading process work, and tells what it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from neat.errors import Exit, HubError, LockedError
from neat.events.lock import RunLock
from neat.events.rundir import RunPaths
from neat.events.spool import Order, Spool, report
from neat.events.writer import EventWriter
from neat.hub.problems import ConflictError, no_token
from neat.train.uploads import Worker

ATTEMPTS = 5
"""Failures in a row after which a command gives up; the job stays queued."""
POLL_S = 0.1

Say = Callable[[str], None]


def upload(spool: Spool, say: Say, attempts: int = ATTEMPTS) -> list[dict[str, Any]]:
    """Works on everything that is queued until it is done.

    Args:
        spool: The uploads of a run.
        say: Where people are told.
        attempts: Failures in a row after which it gives up.

    Returns:
        The status of each upload that ended.

    Raises:
        HubError: One failed, or the hub cannot be reached; what failed stays in the queue.
    """
    from huggingface_hub import get_token

    if not get_token():
        raise no_token()
    for job in spool.waiting():
        job.change(not_before=0.0)
    _, mark = spool.status()
    ended: list[dict[str, Any]] = []
    last: dict[str, Any] = {}
    worker = Worker(spool, attempts)
    with reporting(spool):
        try:
            while True:
                code = worker.poll()
                lines, mark = spool.status(mark)
                for line in lines:
                    last = line
                    say(told(line))
                    if line["state"] in ("done", "failed", "conflict"):
                        ended.append(line)
                if code not in (None, Exit.LOCKED) and not lines:
                    break
                worker.ensure()  # of another process that holds the queue, too, once that has ended
                time.sleep(POLL_S)
        finally:
            worker.stop()
    _raise_for(code, last, ended, spool)
    return ended


@contextmanager
def reporting(spool: Spool) -> Iterator[None]:
    """Afterwards the events of the run tell what happened, unless a trainer holds the run: then it tells them."""
    paths = RunPaths(spool.run)
    lock = None
    if paths.is_run():
        try:
            lock = RunLock(paths.lock)
        except LockedError:
            lock = None
    try:
        yield
    finally:
        if lock is not None:
            with EventWriter(paths.events, heartbeat_s=None) as events:
                report(spool, events, _last_step(spool))
            lock.release()


def told(line: dict[str, Any]) -> str:
    """A line of status for people."""
    what = f"step {line['checkpoint']} to {line['repo']}: {line['state']}"
    if line["state"] == "done":
        return f"{what}, {line['bytes']:,} bytes, commit {line['commit'][:12]} on {line['branch']}"
    if line["state"] == "retry":
        return f"{what} in {line['wait_s']:.0f} s: {line['reason']}"
    return what + (f": {line['reason']}" if line.get("reason") else "")


def queue(spool: Spool, source: Path, order: Order) -> None:
    """Queues a checkpoint or an export by hand, and says so in the status.

    Raises:
        HubError: There is no repository to go to, or the disk refuses.
    """
    if not order.repo:
        raise HubError("no repository is named", hint="say --repo OWNER/NAME, or set hub.repo in the configuration")
    spool.tell(spool.add(source, order), "queued")


def _raise_for(code: int | None, last: dict[str, Any], ended: list[dict[str, Any]], spool: Spool) -> None:
    for line in ended:
        if line["state"] != "done":
            kind = ConflictError if line["state"] == "conflict" else HubError
            raise kind(line["reason"], line.get("hint"), f"upload of step {line['checkpoint']}")
    if code == Exit.HUB:
        raise HubError(str(last.get("reason")), f"it stays queued: neat-upload {spool.run} --resume")
    if code != Exit.DONE:
        raise HubError(
            f"the uploading process ended with {code}",
            hint=f"see {spool.root / 'worker.log'}; what it did stays queued",
        )


def _last_step(spool: Spool) -> int:
    """Finished steps of the run, for the envelope of events."""
    from neat.train.checkpoint import steps

    return max(steps(spool.run / "checkpoints"), default=0)
