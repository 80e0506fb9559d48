"""Appends events to `events.jsonl`: one writer, one `write` per line, nothing rewritten.

A killed run may leave a torn last line. The next writer ends it with a newline before it appends, so that exactly
one line is lost, and goes on counting where the file left off.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from neat.errors import NeatError
from neat.events.schema import MAX_LINE_BYTES, Event, MalformedEventError, decode, encode

HEARTBEAT_S = 10.0
"""Seconds between heartbeats; a reader may take a run silent for many times this as dead."""


class EventWriter:
    """The one writer of a run's events; safe to use from several threads.

    `heartbeat_s` starts a thread that reports life at that interval (None: no thread). The clocks are arguments
    for tests. `continues` is whether the file held events of an earlier attempt. `listener` is called with each event
    after it is in the file, in the thread that wrote it.
    """

    def __init__(
        self,
        path: Path,
        heartbeat_s: float | None = HEARTBEAT_S,
        clock: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._clock, self._mono = clock, mono
        self._lock = threading.Lock()
        self._step = 0
        self._seq = last_seq(path)
        self.continues = self._seq > 0
        self.listener: Callable[[Event], None] | None = None
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise self._failure(error) from error
        self._torn = _ends_torn(path)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        if heartbeat_s is not None:
            self._thread = threading.Thread(target=self._beat, args=(heartbeat_s,), name="heartbeat", daemon=True)
            self._thread.start()

    def write(self, type_: str, step: int, **data: object) -> Event:
        """Appends one event and returns it. Metric names have slashes: `write("step", 7, **{"train/loss": 1.2})`.

        Raises `NeatError` when the disk refuses the line, `ValueError` for an event outside the schema.
        """
        with self._lock:
            event = Event(self._seq + 1, self._clock(), self._mono(), type_, step, data)
            self._append(encode(event))
            self._seq = event.seq
            self._step = step
        if self.listener is not None:
            self.listener(event)
        return event

    def close(self) -> None:
        """Stops the heartbeat and closes the file; a second call does nothing."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line
        try:
            written = os.write(self._file, line)
        except OSError as error:
            raise self._failure(error) from error
        # A short write means a full disk; the next line starts afresh instead of completing this one.
        self._torn = written < len(line) and (written > 0 or self._torn)
        if written < len(line):
            raise self._failure(OSError("only part of the line was written"))

    def _failure(self, error: OSError) -> NeatError:
        return NeatError(
            f"cannot write {self._path}: {error.strerror or error}", hint="is the disk full or the directory read-only?"
        )

    def _beat(self, interval_s: float) -> None:
        while not self._closing.wait(interval_s):
            try:
                self.write("heartbeat", self._step)
            except NeatError:
                # Reported by the next event of the training thread; a heartbeat has nobody to tell.
                continue


def last_seq(path: Path) -> int:
    """Number of the last whole event of a file, 0 when there is none.

    Reads from the end, so that the length of a run does not matter.
    """
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            tail = b""
            while end > 0:
                start = max(0, end - MAX_LINE_BYTES)
                file.seek(start)
                tail = file.read(end - start) + tail[:MAX_LINE_BYTES]
                lines = tail.split(b"\n")
                # The last piece is torn or empty; the first is cut unless the file begins there.
                for line in reversed(lines[0 if start == 0 else 1 : -1]):
                    if not line.startswith(b"{"):
                        continue
                    try:
                        return decode(line).seq
                    except MalformedEventError:
                        continue
                end = start
    except FileNotFoundError:
        pass
    return 0


def _ends_torn(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
