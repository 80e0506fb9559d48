"""The process that uploads: `python -m neat.hub.worker RUN ATTEMPTS`, started by training and by `neat-upload`.

It takes jobs from the spool one after the other, in the order of their steps, exports and uploads them, and says in the
spool's status what it does. It can be killed at any moment: the next one goes on from the spool and from what the hub
already has. It ends when nobody waits for it any more (standard input closes). With ATTEMPTS it also ends when no job
is left to do, or after so many failures one after the other; with 0 it stays and tries for ever.
"""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from neat.errors import Exit
from neat.events.spool import CONFLICT, FAILED, Job, Spool
from neat.hub.problems import ConflictError, UnreachableError, judge

if TYPE_CHECKING:
    from neat.hub.remote import Export

POLL_S = 0.2
"""Seconds between looks at the spool."""
FIRST_WAIT_S = 1.0
"""Longest wait after a first failure; it doubles with each further one."""
NICENESS = 10


def main(words: list[str]) -> int:
    """The body of the process."""
    os.nice(NICENESS)
    _end_with_parent()
    spool = Spool(Path(words[0]))
    spool.make()
    lock = os.open(spool.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Exit.LOCKED
    for left in (*spool.queue.glob(".old-*"), *spool.queue.glob(".tmp-*")):
        if time.time() - left.stat().st_mtime > 60 or left.name.startswith(".old-"):
            shutil.rmtree(left, ignore_errors=True)
    return work(spool, int(words[1]))


def work(spool: Spool, attempts: int) -> Exit:
    """Does jobs: with `attempts` until none is left or so many fail in a row, with 0 until the process is ended."""
    failures = 0
    while True:
        waiting = spool.waiting()
        due = [job for job in waiting[:1] if job.state()["not_before"] <= time.time()]
        if due:
            failures = 0 if _attempt(spool, due[0]) else failures + 1
            if attempts and failures >= attempts:
                return Exit.HUB
        elif not waiting and attempts:
            return Exit.DONE
        else:
            time.sleep(POLL_S)


def _attempt(spool: Spool, job: Job) -> bool:
    """One attempt; whether the job is off the queue, as done or as hopeless."""
    number = int(job.state()["attempt"]) + 1
    try:
        job.change(attempt=number)
    except FileNotFoundError:
        return True
    spool.tell(job, "started", attempt=number)
    limit = threading.Timer(job.order.attempt_s, _give_up, (spool, job, number))
    limit.daemon = True
    limit.start()
    try:
        size, branch, commit = _upload(spool, job)
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the queue goes on
        limit.cancel()
        # A job that is gone was given up by whoever queued it.
        return not job.folder.exists() or not _again(spool, job, number, error)
    limit.cancel()
    spool.remember(f"{job.order.repo}@{branch}", commit)
    spool.tell(job, "done", attempt=number, bytes=size, commit=commit, branch=branch)
    job.remove()
    return True


def _upload(spool: Spool, job: Job) -> tuple[int, str, str]:
    """Exports and uploads; returns bytes, branch and commit."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    from neat.hub.client import use_impatient_client
    from neat.hub.remote import require_repository, upload, upload_training_state

    disable_progress_bars()
    use_impatient_client(job.order.connect_s, job.order.read_s)
    api = HfApi(library_name="neat")
    require_repository(api, job.order, spool.remote())  # before the work of an export
    export = _exported(spool, job)
    branch, commit = upload(api, export, job.order, spool.remote())
    if job.order.include_optimizer and job.checkpoint.is_dir():
        upload_training_state(api, job.checkpoint, job.order, export.run_id)
    return sum((export.folder / name).stat().st_size for name in export.sums), branch, commit


def _exported(spool: Spool, job: Job) -> Export:
    """The export of a job; it is made at the first attempt and kept for the others."""
    from neat.hub.export import export
    from neat.hub.remote import Export
    from neat.train.exported import SUMS, describe, file_sha256, read_sums

    if not job.export.is_dir():
        export(job.checkpoint, job.export, run=spool.run, license=job.order.license, repo=job.order.repo)
    sums = read_sums(job.export) | {SUMS: file_sha256(job.export / SUMS)}
    return Export(job.export, sums, describe(job.export).run_id, job.order.step)


def _again(spool: Spool, job: Job, number: int, error: BaseException) -> bool:
    """Says what went wrong; whether it is tried again."""
    verdict = judge(error, job.order.repo)
    reason = verdict.error.message + (f" ({verdict.error.where})" if verdict.error.where else "")
    if not verdict.again:
        state = CONFLICT if isinstance(verdict.error, ConflictError) else FAILED
        job.change(state=state, reason=reason)
        spool.tell(job, state, attempt=number, reason=reason, hint=verdict.error.hint)
        return False
    wait = wait_s(number, verdict.wait_s, job.order.max_retry_wait_s)
    job.change(not_before=time.time() + wait, reason=reason)
    spool.tell(job, "retry", attempt=number, reason=reason, hint=verdict.error.hint, wait_s=round(wait, 3))
    return True


def wait_s(attempt: int, asked_s: float | None, most_s: float) -> float:
    """Seconds before the next attempt.

    Full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/): uniform between nothing and
    a bound that doubles each time, so that many clients do not come back at once. What the server asks for is added.
    """
    bound = min(most_s, FIRST_WAIT_S * 2.0 ** min(attempt - 1, 30))
    return random.uniform(0.0, bound) + (asked_s or 0.0)


def _give_up(spool: Spool, job: Job, number: int) -> None:
    """An attempt takes too long: this process ends, and whoever started it starts the next one."""
    _again(spool, job, number, UnreachableError(f"an attempt took longer than {job.order.attempt_s:g} s"))
    os._exit(Exit.HUB)


def _end_with_parent() -> None:
    """Ends this process when the one that started it is gone: the other end of standard input closes."""

    def watch() -> None:
        while os.read(0, 1):
            continue
        os._exit(Exit.DONE)

    threading.Thread(target=watch, name="parent", daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
