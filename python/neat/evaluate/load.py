"""From a checkpoint, an export or an address on a hub to a model that reads and writes text."""

from __future__ import annotations

from pathlib import Path

from neat.model.text.model import TextModel
from neat.train import loading
from neat.train.loading import Loaded

__all__ = ["Loaded", "load", "load_all"]

_HUB = "hf:"


def load(path: str | Path, *, device: str = "auto", average: bool = True) -> TextModel:
    """The model of a run directory, checkpoint, export or hub, in evaluation mode and float32.

    Args:
        path: Run directory (its newest valid checkpoint is taken), checkpoint folder, export, or `hf:OWNER/NAME` with
            `@REVISION` or without.
        device: `auto`, `cpu`, `cuda` or `mps`.
        average: Take the averaged weights where the run kept them; an export holds one set of weights.

    Raises:
        CheckpointError: There is no valid checkpoint, or it was made by another version.
        HubError: The hub has no such export, or it is not what was exported.
    """
    return load_all(path, device=device, average=average).model


def load_all(path: str | Path, *, device: str = "auto", average: bool = True) -> Loaded:
    """`load`, with everything else that stands beside the model."""
    if str(path).startswith(_HUB):
        from neat.hub.load import load_pretrained

        return load_pretrained(str(path), device=device)[0]
    return loading.load_all(Path(path), device=device, average=average)
