"""Stop requests: the first Ctrl-C or SIGTERM ends the run after the step in hand, the second at once."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Self

from neat.errors import Exit

WATCHED = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Context in which the two signals set `requested` instead of killing the process.

    Before `begin`, while text is read and nothing could be saved, they raise `KeyboardInterrupt` instead.
    """

    def __init__(self) -> None:
        self.requested = False
        self._begun = False
        self._before: dict[int, signal.Handlers | object] = {}

    def __enter__(self) -> Self:
        for number in WATCHED:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def begin(self) -> None:
        """From here on there is something to finish and to save."""
        self._begun = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._begun:
            raise KeyboardInterrupt
        if self.requested:
            # Checkpoints are published by one rename, so leaving here loses nothing that was saved.
            os._exit(Exit.INTERRUPTED)
        self.requested = True
        name = signal.Signals(number).name
        print(f"\n{name}: finishing this step, then saving (once more stops at once)", file=sys.stderr, flush=True)
