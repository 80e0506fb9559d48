"""When a run is saved, what is kept, and where it goes on."""

from __future__ import annotations

import time

from neat.errors import CheckpointError
from neat.events.rundir import Run
from neat.events.writer import EventWriter
from neat.train import checkpoint
from neat.train.state import Trainer, capture, restore
from neat.train.storage import Storage


class Saver:
    """Checkpoints of one attempt.

    Args:
        trainer: The run in memory.
        directory: Its run directory, locked.
        events: Where saves are reported.
        storage: File operations.
    """

    def __init__(self, trainer: Trainer, directory: Run, events: EventWriter, storage: Storage | None = None) -> None:
        self._trainer, self._events = trainer, events
        self._root = directory.paths.checkpoints
        self._storage = storage or Storage()

    def restore(self) -> bool:
        """Goes on from the newest valid checkpoint; false when the run begins.

        Raises:
            CheckpointError: There are checkpoints, but none can be believed or none fits.
        """
        checkpoint.sweep(self._root)
        folder, refused = checkpoint.newest(self._root)
        for reason in refused.values():
            self._events.write("alert", self._trainer.step, severity="error", message=reason)
        if folder is None:
            if refused:
                raise CheckpointError(
                    "the run has checkpoints, but all are damaged: " + "; ".join(refused.values()),
                    hint="move its `checkpoints` folder away to begin again from step 0",
                )
            return False
        restore(self._trainer, folder)
        for name in refused:
            checkpoint.set_aside(self._root, name)
        return True

    def due(self) -> bool:
        """Whether this step is saved: the first one, to find out early that the disk works, then every so many."""
        step = self._trainer.step
        return step == 1 or step % self._trainer.config.checkpoint.every_steps == 0

    def save(self) -> None:
        """Writes a checkpoint of this step, unless there is one, and deletes what is no longer kept."""
        trainer = self._trainer
        if trainer.last_saved == trainer.step or trainer.step == 0:
            return
        start = time.perf_counter()
        folder = checkpoint.write(self._root, trainer.step, capture(trainer), self._storage)
        trainer.last_saved = trainer.step
        size = sum(path.stat().st_size for path in folder.iterdir())
        data = {"path": folder.name, "bytes": size, "save_s": round(time.perf_counter() - start, 3)}
        self._events.write("checkpoint", trainer.step, **data)
        # The new one was read back when it was hashed, so an older one may go.
        try:
            checkpoint.retain(self._root, trainer.config.checkpoint.keep, self._storage)
        except OSError as error:
            message = f"an old checkpoint could not be deleted: {error.strerror or error}"
            self._events.write("alert", trainer.step, severity="warning", message=message)
