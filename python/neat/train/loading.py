"""From a checkpoint on disk to everything that stands in it."""

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
from neat.model.text.model import TextModel
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


def load_all(path: Path, *, device: str = "auto", average: bool = True) -> Loaded:
    """Reads a run directory (its newest valid checkpoint) or a checkpoint folder.

    Args:
        path: Run directory or checkpoint folder.
        device: `auto`, `cpu`, `cuda` or `mps`.
        average: Take the averaged weights where the run kept them.

    Raises:
        CheckpointError: There is no valid checkpoint, or it holds no model that this version reads.
    """
    folder = checkpoint.find(path)
    config = read_config(folder)
    require_model(config, path)
    state = checkpoint.read_state(folder)
    placement = place(config.runtime.model_copy(update={"device": device, "compile": "off", "threads": 0}))
    ngram = _native.NgramModel.from_bytes((folder / checkpoint.ENTROPY_MODEL).read_bytes())
    patcher = _native.Patcher.from_json(state["patcher"])
    preparer = make_preparer(config, _native.CrossFit.single(ngram), patcher)
    network = read_network(config, folder, average=average).to(placement.device)
    network.latent.progress(state["step"], state["horizon"]["total"])
    window = config.train.window
    model = TextModel(network, preparer, window=window, patch_slots=config.patch_slots(window))
    model.installed, model.dispatcher = installed_experts(folder), _dispatcher(folder)
    return Loaded(model, ngram, config, state["step"])


def read_config(folder: Path) -> Config:
    """The configuration in a checkpoint."""
    return load_text(read(folder / checkpoint.CONFIG), str(folder / checkpoint.CONFIG)).config


def run_of(folder: Path) -> Path | None:
    """The run directory around a checkpoint; None for a checkpoint that stands elsewhere."""
    run = folder.parent.parent
    return run if folder.parent.name == "checkpoints" and (run / "config.toml").is_file() else None


def installed_experts(folder: Path) -> dict[str, Path]:
    """Expert files published in the run around a checkpoint, by name."""
    run = run_of(folder)
    return {path.stem: path for path in sorted((run / "experts").glob("*.safetensors"))} if run is not None else {}


def _dispatcher(folder: Path) -> Path | None:
    run = run_of(folder)
    path = run / "dispatcher.safetensors" if run is not None else None
    return path if path is not None and path.is_file() else None


def require_model(config: Config, path: Path) -> None:
    """Raises `CheckpointError` where the checkpoint at `path` is the training of an expert or a dispatcher."""
    if config.train.mode != "text":
        raise CheckpointError(
            f"`{path}` is the training of {config.expert.name or 'a dispatcher'} on another model",
            hint=f"load its base, {config.expert.base}, and add the .safetensors file in {path} to it",
        )


def read_network(config: Config, folder: Path, *, average: bool) -> NeatModel:
    """The network of a verified checkpoint and its configuration, on the CPU, in evaluation mode.

    Args:
        config: Of the checkpoint.
        folder: The checkpoint.
        average: Take the averaged weights where there are any.

    Raises:
        CheckpointError: The weights do not fit the configuration.
    """
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
