"""Answers what a person asks of a run through its directory, between two steps. Costs one clock reading a step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from neat.events import requests
from neat.events.requests import MalformedRequestError, Request
from neat.events.writer import EventWriter
from neat.train.signals import StopRequest

LOOK_S = 1.0
"""Seconds between looks into the folder."""


class Control:
    """The requests of one attempt. What was asked before it began is refused: it was meant for another.

    Args:
        root: The run directory.
        events: Where answers are written.
        stop: Told to stop.
        save: Saves a checkpoint of the present step.
        mono: Seconds of a clock that never jumps.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        root: Path,
        events: EventWriter,
        stop: StopRequest,
        save: Callable[[], None],
        mono: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._root, self._events, self._stop, self._save = root, events, stop, save
        self._mono, self._sleep = mono, sleep
        self._looked = mono()
        self._paused = False
        self._look(0, refused="asked before this attempt began")

    def poll(self, step: int) -> bool:
        """Answers what was asked since the last look; true when the run was paused here and goes on now.

        A pause waits inside this call. The heartbeat goes on; save, note, resume and stop are answered, and a signal
        to stop ends it.
        """
        now = self._mono()
        if now - self._looked < LOOK_S:
            return False
        self._look(step)
        waited = self._paused
        while self._paused and not self._stop.requested:
            self._sleep(LOOK_S)
            self._look(step)
        self._paused = False
        return waited

    def _look(self, step: int, refused: str = "") -> None:
        """Answers what waits; with `refused` everything is, for that reason."""
        self._looked = self._mono()
        for path in requests.pending(self._root):
            try:
                request = requests.read(path)
            except MalformedRequestError as error:
                self._answer(path, step, "refused", str(error))
                continue
            outcome, text = ("refused", refused) if refused else self._obey(request)
            self._answer(path, step, outcome, text, request)

    def _obey(self, request: Request) -> tuple[str, str]:
        """Outcome and explanation."""
        match request.kind:
            case "save":
                self._save()
            case "stop":
                self._stop.requested = True
            case "pause" if self._paused:
                return "refused", "the run is paused already"
            case "pause":
                self._paused = True
            case "resume" if not self._paused:
                return "refused", "the run is not paused"
            case "resume":
                self._paused = False
        return "done", request.text

    def _answer(self, path: Path, step: int, outcome: str, text: str, request: Request | None = None) -> None:
        # Deleted first: a request that cannot be deleted must not be obeyed again and again.
        with contextlib.suppress(OSError):
            path.unlink()
        kind, by = ("unknown", "") if request is None else (request.kind, request.by)
        self._events.write("request", step, request=kind, outcome=outcome, text=text, by=by)
