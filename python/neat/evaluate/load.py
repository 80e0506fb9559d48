"""From a checkpoint on disk to a model that reads and writes text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from neat import _native
from neat.config.load import load_text
from neat.config.schema import Config
from neat.config.tomlfile import read
from neat.data.pipeline import make_preparer
from neat.errors import CheckpointError
from neat.model.neat import NeatModel
from neat.model.text import TextModel
from neat.train import checkpoint
from neat.train.device import place


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint in memory.

    Attributes:
        model: Network, patcher and n-gram rows, in evaluation mode.
        ngram: The n-gram model of the run, the yardstick of every evaluation.
        config: The configuration it was trained with.
        step: Updates behind the weights.
    """

    model: TextModel
    ngram: _native.NgramModel
    config: Config
    step: int


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


def load_all(path: Path, *, device: str = "auto", average: bool = True) -> Loaded:
    """`load` with everything that stands beside the weights."""
    folder = checkpoint.find(path)
    state = checkpoint.read_state(folder)
    config = load_text(read(folder / checkpoint.CONFIG), str(folder / checkpoint.CONFIG)).config
    placement = place(config.runtime.model_copy(update={"device": device, "compile": "off", "threads": 0}))
    ngram = _native.NgramModel.from_bytes((folder / checkpoint.ENTROPY_MODEL).read_bytes())
    patcher = _native.Patcher.from_json(state["patcher"])
    preparer = make_preparer(config, _native.CrossFit.single(ngram), patcher)
    network = _network(config, folder, average=average).to(placement.device)
    network.latent.progress(state["step"], state["horizon"]["total"])
    window = config.train.window
    model = TextModel(network, preparer, window=window, patch_slots=config.patch_slots(window))
    return Loaded(model, ngram, config, state["step"])


def _network(config: Config, folder: Path, *, average: bool) -> NeatModel:
    tensors = checkpoint.read_tensors(folder, checkpoint.AVERAGE) if average else {}
    tensors = tensors or checkpoint.read_tensors(folder, checkpoint.MODEL)
    with torch.device("meta"):
        network = NeatModel(config)
    try:
        network.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise CheckpointError(
            "the weights do not fit the configuration beside them",
            hint="the checkpoint was made by another version of neat; use that version",
            where=f"in {folder}",
        ) from error
    return network.eval().requires_grad_(False)
