"""The uploads of a run, on disk: what waits to be uploaded, and what became of it.

uploads/
  queue/step-XXXXXXXX/   one job: job.json (what to do), state.json (how far it is), checkpoint/ (hard links)
  status.jsonl           what the uploading process did, one JSON object a line
  reported               bytes of status.jsonl that are in the events of the run
  remote.json            what was last committed, by repository
  worker.lock            held by the process that uploads

The invariants: a job appears whole, by one rename; its files are hard links, which nothing changes any more, so the
checkpoint itself may be deleted; one process at a time uploads; status is appended by it alone, and becomes events
through whoever holds the run.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neat.config.hub import Hub
from neat.errors import HubError
from neat.events.rundir import replace_file
from neat.events.schema import ENVELOPE
from neat.events.writer import EventWriter

QUEUED, FAILED, CONFLICT = "queued", "failed", "conflict"
_MAX_STATUS_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of an upload.

    Attributes:
        step: Step of the checkpoint.
        repo: OWNER/NAME.
        public: May go to a public repository, and makes one where there is none.
        tag: Tag the commit with the step.
        license: Identifier of the licence, or empty.
        include_optimizer: Also the training state, to a branch of its own.
        connect_s: Longest wait for a connection.
        read_s: Longest silence.
        attempt_s: Longest time for one attempt.
        max_retry_wait_s: Longest wait between attempts.
        onto: Commit that may be committed upon although this run did not write it.
    """

    step: int
    repo: str
    public: bool = False
    tag: bool = True
    license: str = ""
    include_optimizer: bool = False
    connect_s: float = 10.0
    read_s: float = 60.0
    attempt_s: float = 3600.0
    max_retry_wait_s: float = 300.0
    onto: str = ""

    @classmethod
    def of(cls, hub: Hub, step: int, **changes: Any) -> Order:
        """The order that the settings describe."""
        names = (
            "repo", "public", "tag", "license", "include_optimizer", "connect_s", "read_s", "attempt_s",
            "max_retry_wait_s",
        )  # fmt: skip
        return cls(**({name: getattr(hub, name) for name in names} | {"step": step} | changes))


@dataclass(frozen=True, slots=True)
class Job:
    """One upload that waits, in its folder."""

    folder: Path
    order: Order

    @property
    def checkpoint(self) -> Path:
        """Hard links to the files of the checkpoint."""
        return self.folder / "checkpoint"

    @property
    def export(self) -> Path:
        """Where the export is made."""
        return self.folder / "export"

    def state(self) -> dict[str, Any]:
        """`state`, `attempt` (number of the last one), `not_before` (Unix seconds) and `reason`."""
        return {"state": QUEUED, "attempt": 0, "not_before": 0.0} | _read(self.folder / "state.json")

    def change(self, **changes: Any) -> None:
        """Replaces what changed of the state."""
        replace_file(self.folder / "state.json", json.dumps(self.state() | changes).encode())

    def remove(self) -> None:
        """Takes the job out of the queue; its name goes first."""
        doomed = self.folder.with_name(f".old-{self.folder.name}-{os.getpid()}")
        with suppress(FileNotFoundError):  # the other process was faster
            self.folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


class Spool:
    """The uploads of one run directory.

    Args:
        run: The run directory.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.root = run / "uploads"
        self.queue = self.root / "queue"
        self.lock = self.root / "worker.lock"
        self._status = self.root / "status.jsonl"
        self._reported = self.root / "reported"

    def make(self) -> None:
        """Makes the folders.

        Raises:
            HubError: The disk refuses.
        """
        try:
            self.queue.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refusal(error) from error

    def add(self, source: Path, order: Order) -> Job:
        """Queues a checkpoint, in the time that a few hard links take; one of the same step is replaced.

        Args:
            source: A published checkpoint, or an export.
            order: What to do with it.

        Raises:
            HubError: The disk refuses; nothing is queued.
        """
        self.make()
        name = f"step-{order.step:08d}"
        staged, final = self.queue / f".tmp-{name}-{os.getpid()}", self.queue / name
        try:
            shutil.rmtree(staged, ignore_errors=True)
            inside = staged / ("checkpoint" if (source / "manifest.json").exists() else "export")
            inside.mkdir(parents=True)
            for path in source.iterdir():
                os.link(path.resolve(), inside / path.name)
            (staged / "job.json").write_text(json.dumps(_fields(order)))
            if final.exists():
                Job(final, order).remove()
            staged.rename(final)
        except OSError as error:
            shutil.rmtree(staged, ignore_errors=True)
            raise self._refusal(error) from error
        return Job(final, order)

    def jobs(self) -> list[Job]:
        """What waits, in the order of the steps; a job that cannot be read is left out."""
        found = []
        for folder in sorted(self.queue.glob("step-*")) if self.queue.is_dir() else []:
            fields = _read(folder / "job.json")
            try:
                found.append(Job(folder, Order(**fields)))
            except TypeError:
                continue
        return sorted(found, key=lambda job: job.order.step)

    def waiting(self) -> list[Job]:
        """Jobs that somebody should still work on."""
        return [job for job in self.jobs() if job.state()["state"] == QUEUED]

    def retry(self) -> int:
        """Queues again what failed; returns how many jobs that were."""
        failed = [job for job in self.jobs() if job.state()["state"] != QUEUED]
        for job in failed:
            job.change(state=QUEUED, attempt=0, not_before=0.0)
        return len(failed)

    def tell(self, job: Job, state: str, **data: object) -> None:
        """Appends one line of status: the data of an `upload` event."""
        line = {"time": time.time(), "state": state, "repo": job.order.repo, "checkpoint": job.order.step} | data
        with self._status.open("ab") as file:
            file.write(json.dumps(line).encode() + b"\n")

    def status(self, start: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Whole lines of status from a byte on, and where the next ones will begin."""
        try:
            with self._status.open("rb") as file:
                file.seek(start)
                text = file.read(_MAX_STATUS_BYTES)
        except FileNotFoundError:
            return [], start
        *lines, _ = text.split(b"\n")
        return [entry for entry in map(_decode, lines) if entry], start + sum(len(line) + 1 for line in lines)

    def unreported(self) -> tuple[list[dict[str, Any]], int]:
        """Lines of status that are not events yet, and the mark to give to `mark_reported` when they are."""
        try:
            start = int(self._reported.read_text())
        except (OSError, ValueError):
            start = 0
        return self.status(start)

    def mark_reported(self, mark: int) -> None:
        """Says that status up to `mark` is among the events."""
        replace_file(self._reported, str(mark).encode())

    def remote(self) -> dict[str, str]:
        """Commit that this run made last, by `OWNER/NAME@BRANCH`."""
        return {str(key): str(value) for key, value in _read(self.root / "remote.json").items()}

    def remember(self, place: str, commit: str) -> None:
        """Notes the commit that this run made at a place."""
        replace_file(self.root / "remote.json", json.dumps(self.remote() | {place: commit}).encode())

    def _refusal(self, error: OSError) -> HubError:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return HubError(
            f"the upload cannot be queued: {error.strerror or error}",
            hint="make room, then: neat-upload RUN"
            if full
            else "the run directory must be writable and allow hard links",
            where=f"in {self.root}",
        )


def report(spool: Spool, events: EventWriter, step: int) -> list[dict[str, Any]]:
    """Turns new status into `upload` events of a run that this process holds; returns it.

    Args:
        spool: The uploads of the run.
        events: Its event writer.
        step: Finished steps of the run, for the envelope.

    Raises:
        NeatError: The disk refuses an event; it is written by a later call.
    """
    lines, mark = spool.unreported()
    for line in lines:
        events.write("upload", step, **{key: value for key, value in line.items() if key not in ENVELOPE})
    if lines:
        spool.mark_reported(mark)
    return lines


def _fields(order: Order) -> dict[str, object]:
    return {name: getattr(order, name) for name in Order.__dataclass_fields__}


def _read(path: Path) -> dict[str, Any]:
    try:
        return _decode(path.read_bytes())
    except OSError:
        return {}


def _decode(text: bytes) -> dict[str, Any]:
    try:
        table: Mapping[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return dict(table) if isinstance(table, dict) else {}
