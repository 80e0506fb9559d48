"""Uploads while a run goes on: which checkpoints are queued, and the process that uploads them.

The invariant: training gives a checkpoint to the queue in the time that hard links take, and waits for nothing but, at
its end, for at most `hub.final_wait_s`. Whatever goes wrong is an event, never the end of the run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from neat.errors import HubError, NeatError
from neat.events.reader import effective, read_events
from neat.events.rundir import Run
from neat.events.schema import Event
from neat.events.spool import Order, Spool, report
from neat.events.writer import EventWriter
from neat.train.checkpoint import folder_name, steps
from neat.train.signals import StopRequest

POLL_S = 0.25
"""Seconds between looks at what the uploading process says."""
RESTART_S = 2.0
"""Least seconds between two starts of that process."""


class Worker:
    """The uploading process of a run. It ends with this one, however that ends.

    Args:
        spool: The uploads of the run.
        attempts: Failures in a row after which it ends; 0 keeps it at work.
    """

    def __init__(self, spool: Spool, attempts: int = 0) -> None:
        self._spool, self._attempts = spool, attempts
        self._process: subprocess.Popen[bytes] | None = None
        self._started = -RESTART_S

    def ensure(self) -> None:
        """Starts it, unless it runs or was started a moment ago."""
        if self._process is not None and self._process.poll() is None:
            return
        if time.monotonic() - self._started < RESTART_S:
            return
        self.stop()
        self._started = time.monotonic()
        words = [sys.executable, "-m", "neat.hub.worker", str(self._spool.run), str(self._attempts)]
        with (self._spool.root / "worker.log").open("wb") as log:
            # A session of its own, so that Ctrl-C reaches the trainer alone.
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                words,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return None if self._process is None else self._process.poll()

    def stop(self) -> None:
        """Ends it at once; what it was doing stays queued."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(0.3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Uploads:
    """The uploads of one attempt of a run, by `hub.upload`.

    Args:
        directory: The run directory, locked.
        events: Its event writer; what it writes says when a checkpoint is there.
        say: Where people are told.
    """

    def __init__(self, directory: Run, events: EventWriter, say: Callable[[str], None]) -> None:
        self._hub, self._root = directory.config.hub, directory.paths.checkpoints
        self._events, self._say = events, say
        self._spool = Spool(directory.paths.root)
        self._worker = Worker(self._spool)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._step = 0
        self._pending: int | None = None
        self._best = _best_bpb(directory.paths.events) if self._hub.upload == "best" else float("inf")

    def __enter__(self) -> Self:
        self._report()
        if self._hub.upload != "off":
            self._events.listener = self._notice
            self._thread = threading.Thread(target=self._watch, name="uploads", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the uploading process and says what is left; a second call does nothing."""
        self._flush()
        self._events.listener = None
        self._closing.set()
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        self._worker.stop()
        self._report()
        if left := len(self._spool.jobs()):
            self._say(f"{left} uploads are left: neat-upload {self._spool.run} --resume")

    def finish(self, stop: StopRequest) -> None:
        """Queues what the end of a run asks for and waits for it, up to `hub.final_wait_s` or until asked to stop."""
        if self._hub.upload == "off":
            return
        self._flush()
        if self._hub.upload == "final" and (there := steps(self._root)):
            self._queue(there[-1])
        waiting = self._spool.waiting()
        if waiting and self._hub.final_wait_s:
            self._say(f"waiting up to {self._hub.final_wait_s:g} s for {len(waiting)} uploads")
        deadline = time.monotonic() + self._hub.final_wait_s
        while self._spool.waiting() and time.monotonic() < deadline and not stop.requested:
            time.sleep(min(POLL_S, max(0.0, deadline - time.monotonic())))
        self.close()

    def _notice(self, event: Event) -> None:
        """Called with each event that training writes."""
        if event.type not in ("checkpoint", "step", "eval"):
            return
        self._step = event.step
        if self._pending is not None and (event.step > self._pending or event.type == "eval"):
            self._flush()
        if event.type == "checkpoint" and self._hub.upload == "every":
            # An evaluation of this step may follow, and the card should have its figures.
            self._pending = event.step
        if event.type == "eval" and self._hub.upload == "best":
            bpb = event.data.get("eval/bpb")
            if isinstance(bpb, float) and bpb < self._best:
                self._best = bpb
                self._queue(event.step)

    def _flush(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            self._queue(pending)

    def _queue(self, step: int) -> None:
        order = Order.of(self._hub, step)
        told = {"repo": order.repo, "checkpoint": step}
        try:
            self._spool.add(self._root / folder_name(step), order)
            self._tell("queued", **told)
            # What failed counts too: it keeps its files until somebody says --resume.
            for job in self._spool.jobs()[: -self._hub.max_queued]:
                job.remove()
                self._tell("failed", repo=order.repo, checkpoint=job.order.step, reason=_TOO_MANY)
        except HubError as error:
            self._tell("failed", **told, reason=error.message)
            self._say(f"step {step} is not uploaded: {error.message}")

    def _tell(self, state: str, **data: object) -> None:
        with suppress(NeatError):  # a full disk; training finds out by itself where it matters
            self._events.write("upload", self._step, state=state, **data)

    def _watch(self) -> None:
        while not self._closing.wait(POLL_S):
            if self._spool.waiting():
                self._worker.ensure()
            self._report()

    def _report(self) -> None:
        with suppress(NeatError, OSError):
            for line in report(self._spool, self._events, self._step):
                if line["state"] in ("done", "failed", "conflict"):
                    reason = f": {line['reason']}" if line.get("reason") else f" in {line['repo']}"
                    self._say(f"upload of step {line['checkpoint']} {line['state']}{reason}")


_TOO_MANY = "given up: more uploads wait than hub.max_queued"


def _best_bpb(path: Path) -> float:
    """The best evaluation of earlier attempts."""
    course = effective([event for event in read_events(path) if event.type in ("eval", "resume")])
    found = (event.data.get("eval/bpb") for event in course if event.type == "eval")
    return min((value for value in found if isinstance(value, float)), default=float("inf"))
