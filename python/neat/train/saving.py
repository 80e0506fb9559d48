"""When a run is saved, what is kept, and where it goes on."""

from __future__ import annotations

import time
from pathlib import Path

from neat.errors import CheckpointError
from neat.events.rundir import Run
from neat.events.writer import EventWriter
from neat.train import checkpoint
from neat.train.state import Trainer, capture, restore
from neat.train.storage import Storage
from neat.train.tuned import recall


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
        folder, refused = newest_checkpoint(self._root, self._events, self._trainer.step)
        if folder is None:
            return False
        recall(self._trainer, folder)
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
        if trainer.predictor is not None:
            trainer.predictor.keep_healthy(trainer)
        keep = trainer.config.checkpoint.keep
        publish(self._root, trainer.step, capture(trainer), self._events, keep, self._storage)
        trainer.last_saved = trainer.step


def newest_checkpoint(root: Path, events: EventWriter, step: int) -> tuple[Path | None, dict[str, str]]:
    """The newest checkpoint that can be believed, None where there is none yet, and the refused ones with reasons.

    Raises:
        CheckpointError: There are checkpoints, but all are damaged.
    """
    checkpoint.sweep(root)
    folder, refused = checkpoint.newest(root)
    for reason in refused.values():
        events.write("alert", step, severity="error", message=reason)
    if folder is None and refused:
        raise CheckpointError(
            "the run has checkpoints, but all are damaged: " + "; ".join(refused.values()),
            hint="move its `checkpoints` folder away to begin again from step 0",
        )
    return folder, refused


def publish(
    root: Path, step: int, contents: checkpoint.Contents, events: EventWriter, keep: int, storage: Storage
) -> None:
    """Writes a checkpoint, tells of it, and deletes what is no longer kept."""
    start = time.perf_counter()
    folder = checkpoint.write(root, step, contents, storage)
    size = sum(path.stat().st_size for path in folder.iterdir())
    data = {"path": folder.name, "bytes": size, "save_s": round(time.perf_counter() - start, 3)}
    events.write("checkpoint", step, **data)
    # The new one was read back when it was hashed, so an older one may go.
    try:
        checkpoint.retain(root, keep, storage)
    except OSError as error:
        message = f"an old checkpoint could not be deleted: {error.strerror or error}"
        events.write("alert", step, severity="warning", message=message)
