"""From a checkpoint on disk to everything that stands in it."""

from __future__ import annotations

from pathlib import Path

import torch

from neat import _native
from neat.config.load import load_text
from neat.config.schema import Config
from neat.config.tomlfile import read
from neat.errors import CheckpointError
from neat.model.neat import NeatModel
from neat.train import checkpoint, exported
from neat.train.assembly import Loaded, assemble
from neat.train.device import place

__all__ = ["Loaded", "installed_experts", "load_all", "read_config", "run_of"]


def load_all(path: Path, *, device: str = "auto", average: bool = True) -> Loaded:
    """Reads a run directory (its newest valid checkpoint), a checkpoint folder or an export.

    Args:
        path: Run directory, checkpoint folder or export.
        device: `auto`, `cpu`, `cuda` or `mps`.
        average: Take the averaged weights where the run kept them; an export holds one set of weights.

    Raises:
        CheckpointError: There is no valid checkpoint, or it holds no model that this version reads.
    """
    if exported.is_export(path):
        return exported.load_export(path, device=device)
    folder = checkpoint.find(path)
    config = read_config(folder)
    require_model(config, path)
    state = checkpoint.read_state(folder)
    placement = place(config.runtime.model_copy(update={"device": device, "compile": "off", "threads": 0}))
    ngram = _native.NgramModel.from_bytes((folder / checkpoint.ENTROPY_MODEL).read_bytes())
    patcher = _native.Patcher.from_json(state["patcher"])
    network = read_network(config, folder, average=average).to(placement.device)
    loaded = assemble(config, network, ngram, patcher, (state["step"], state["horizon"]["total"]))
    loaded.model.installed, loaded.model.dispatcher = installed_experts(folder), _dispatcher(folder)
    return loaded


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
