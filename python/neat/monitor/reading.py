"""The thread that reads the runs and tells the app what is new, as immutable snapshots."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from neat.monitor.follow import Follower
from neat.monitor.snapshot import Snapshot

POLL_S = 1.0
"""Seconds between looks at the files of runs that are read to their end."""
TELL_S = 1.0
"""Longest time without a snapshot: ages are shown in seconds."""
BREATH_S = 0.002
"""Pause between pieces of a long history, in which the app draws."""


class Reading:
    """Reads until it is stopped.

    Args:
        followers: The runs.
        tell: Called in the thread with the place of a run and its snapshot.
        failed: Called in the thread with the error that ends it, a fault of the program.
    """

    def __init__(
        self,
        followers: Sequence[Follower],
        tell: Callable[[int, Snapshot], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._followers, self._tell, self._failed = followers, tell, failed
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader of runs", daemon=True)

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._read()
        except Exception as error:  # noqa: BLE001  a thread has nobody else to tell
            self._failed(error)

    def _read(self) -> None:
        told = [-TELL_S] * len(self._followers)
        while not self._closing.is_set():
            for place, follower in enumerate(self._followers):
                changed = follower.step()
                now = time.monotonic()
                if (changed and not follower.busy) or now - told[place] >= TELL_S:
                    told[place] = now
                    self._tell(place, follower.snapshot())
            busy = any(follower.busy for follower in self._followers)
            self._closing.wait(BREATH_S if busy else POLL_S)
