"""From a checkpoint on disk to a model that reads and writes text."""

from __future__ import annotations

from pathlib import Path

from neat.model.text.model import TextModel
from neat.train.loading import Loaded, load_all

__all__ = ["Loaded", "load", "load_all"]


def load(path: str | Path, *, device: str = "auto", average: bool = True) -> TextModel:
    """The model of a run directory or checkpoint, in evaluation mode and float32.

    Args:
        path: Run directory (its newest valid checkpoint is taken) or checkpoint folder.
        device: `auto`, `cpu`, `cuda` or `mps`.
        average: Take the averaged weights where the run kept them.

    Raises:
        CheckpointError: There is no valid checkpoint, or it was made by another version.
    """
    return load_all(Path(path), device=device, average=average).model
