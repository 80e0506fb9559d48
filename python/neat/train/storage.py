"""The file operations of a checkpoint, behind one small interface so that tests can make each of them fail."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path


class Storage:
    """Durable writes on a local file system."""

    def write(self, path: Path, fill: Callable[[Path], None]) -> None:
        """Lets `fill` write the file at `path`, then forces it to disk."""
        fill(path)
        with path.open("rb") as file:
            os.fsync(file.fileno())

    def publish(self, staged: Path, final: Path) -> None:
        """Gives a finished folder its name in one step and forces the name to disk."""
        self._sync_folder(staged)
        staged.rename(final)
        self._sync_folder(final.parent)

    def remove(self, folder: Path) -> None:
        """Deletes a folder; its name disappears first, so that half a deletion never looks like a checkpoint."""
        doomed = folder.with_name(f".old-{folder.name}-{os.getpid()}")
        folder.rename(doomed)
        shutil.rmtree(doomed)

    @staticmethod
    def _sync_folder(folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
