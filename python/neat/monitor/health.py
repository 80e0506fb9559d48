"""Whether a run is alive, and how that is known: its last words, its heartbeat, the kernel's lock and the process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from neat.events.lock import is_held
from neat.events.schema import Event
from neat.events.writer import HEARTBEAT_S
from neat.monitor.format import duration

SILENT_S = 3 * HEARTBEAT_S
"""A live process says something at least every heartbeat; after three it is called silent."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who writes the run: `held` is whether the lock is held now, None where nobody can tell."""

    held: bool | None
    pid: int | None = None
    host: str | None = None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid is not None else "an unknown process"


def read_holder(path: Path) -> Holder:
    """The holder of the lock file of a run on this machine."""
    try:
        content = path.read_bytes()[:4096]
    except OSError:
        content = b""
    return parse_holder(content, held=is_held(path))


def parse_holder(content: bytes, *, held: bool | None) -> Holder:
    """The holder that the content of a lock file names."""
    try:
        table = json.loads(content)
        return Holder(held, int(table["pid"]), str(table["host"])[:100])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Holder(held)


@dataclass(frozen=True, slots=True)
class Health:
    """`state` is waiting, running, paused, silent, finished, stopped, failed or gone; `text` says why, with its age."""

    state: str
    text: str
    age_s: float = 0.0

    @property
    def alive(self) -> bool:
        """Whether a process is believed to be at work."""
        return self.state in {"running", "paused", "silent"}


def judge(events: Mapping[str, tuple[Event, ...]], newest: Event | None, holder: Holder, now: float) -> Health:
    """The health of a run from its events, its lock and the time."""
    if newest is None:
        return _unheard(holder)
    end, run = _last(events, "end"), _last(events, "run")
    # A thread may still write after the end; a next attempt writes heartbeats before its `run`, and holds the lock.
    if end is not None and (run is None or run.seq < end.seq) and not (holder.held and newest.seq > end.seq):
        return _ended(end, max(0.0, now - end.time))
    return _unended(_last(events, "request"), max(0.0, now - newest.time), holder, now)


def _last(events: Mapping[str, tuple[Event, ...]], kind: str) -> Event | None:
    found = events.get(kind)
    return found[-1] if found else None


def _unheard(holder: Holder) -> Health:
    """A run without events."""
    if holder.held:
        return Health("waiting", f"{holder} prepares the run")
    if holder.held is False and holder.pid is not None:
        return Health("gone", f"{holder} ended before it wrote an event")
    return Health("waiting", "no events yet")


def _unended(request: Event | None, age: float, holder: Holder, now: float) -> Health:
    """A run whose last attempt did not say that it ended; `age` is that of its newest event."""
    if holder.held is False:
        return Health("gone", f"no heartbeat for {duration(age)}: the process is gone ({holder})", age)
    if age > SILENT_S:
        known = f"{holder} still holds the run" if holder.held else "whether it lives cannot be told from here"
        return Health("silent", f"no heartbeat for {duration(age)}: {known}", age)
    if request is not None and request.data.get("request") == "pause" and request.data.get("outcome") == "done":
        return Health("paused", f"paused on request {duration(now - request.time)} ago", age)
    return Health("running", f"heartbeat {duration(age)} ago, {holder}", age)


def _ended(end: Event, age: float) -> Health:
    reason, code = str(end.data.get("reason", "?")), end.data.get("exit_code")
    if reason == "finished":
        return Health("finished", f"finished {duration(age)} ago", age)
    if reason == "stopped on request":
        return Health("stopped", f"stopped on request {duration(age)} ago; the same command goes on", age)
    message = end.data.get("message")
    text = f"{reason}: {message}" if message else reason
    return Health("failed", f"failed {duration(age)} ago with code {code}: {text}", age)
