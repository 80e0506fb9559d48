"""A run that begins with the weights of another one, in a network of the same shape or a larger one.

The source is only read. A run that has a checkpoint of its own goes on from that and needs the source no more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neat import _native
from neat.config.schema import Config
from neat.data.pipeline import make_preparer
from neat.errors import CheckpointError, ConfigError
from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.growth.grow import Growth, plan
from neat.model.losses import byte_loss
from neat.model.neat import NeatModel
from neat.train import checkpoint
from neat.train.loading import read_config, read_network, require_model
from neat.train.state import Trainer


@dataclass(frozen=True, slots=True)
class Source:
    """What a run grows from.

    Attributes:
        path: As the user named it.
        folder: The checkpoint.
        growth: The way from its network to that of the run.
    """

    path: str
    folder: Path
    growth: Growth


def find(config: Config, checkpoints: Path) -> Source | None:
    """The run that `init.from` names; None where it names none or the run has checkpoints of its own.

    Args:
        config: Of the run that begins.
        checkpoints: Its folder of checkpoints.

    Raises:
        CheckpointError: There is no checkpoint at that place, or no model in it.
        ConfigError: Its network cannot become that of the run.
    """
    path = config.init.source
    if not path or checkpoint.steps(checkpoints):
        return None
    try:
        folder = checkpoint.find(Path(path).expanduser())
        old = read_config(folder)
        require_model(old, Path(path))
    except CheckpointError as error:
        raise CheckpointError(error.message, hint=error.hint, where="from init.from") from error
    try:
        return Source(path, folder, plan(old, config))
    except ConfigError as error:
        where = f"growing from {path}"
        raise ConfigError.of(replace(problem, where=where) for problem in error.problems) from error


@torch.no_grad()
def grow(trainer: Trainer, source: Source) -> dict[str, Any]:
    """Gives `trainer`, which has not taken a step, the weights of `source`; returns what the `growth` event says.

    Raises:
        CheckpointError: The source is not what its configuration says.
        ConfigError: What its optimizers remember is asked for and does not fit.
    """
    growth, init = source.growth, trainer.config.init
    averaged = init.weights == "average" and (source.folder / checkpoint.AVERAGE).exists()
    old = read_network(growth.old, source.folder, average=averaged)
    state = checkpoint.read_state(source.folder)
    old.latent.progress(state["step"], state["horizon"]["total"])
    live = trainer.model.state_dict()
    for name, tensor in growth.weights(old.state_dict(), live):
        live[name].copy_(tensor)
    if init.optimizer == "map":
        _remember(trainer, growth, source.folder, dict(old.named_parameters()))
    return {
        "from": source.path,
        "checkpoint": source.folder.name,
        "source_step": state["step"],
        "digest": checkpoint.file_digest(source.folder / (checkpoint.AVERAGE if averaged else checkpoint.MODEL)),
        "weights": "averaged" if averaged else "raw",
        "method": init.method,
        "optimizer": init.optimizer,
        "noise": init.noise,
        "parameters/before": _count(old),
        "parameters/after": _count(trainer.model),
        **_measured(trainer, growth, old.to(trainer.placement.device)),
        "notes": _notes(trainer, growth, state, average_missing=init.weights == "average" and not averaged),
    }


def _remember(trainer: Trainer, growth: Growth, folder: Path, parameters: dict[str, Tensor]) -> None:
    saved = checkpoint.read_tensors(folder, checkpoint.OPTIMIZER)
    trainer.optimizers.load(growth.optimizer(saved, trainer.optimizers.state(), parameters))


def _count(model: NeatModel) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _measured(trainer: Trainer, growth: Growth, old: NeatModel) -> dict[str, object]:
    """How far the predictions of both networks are apart on the first rows of the run, in full windows."""
    trainer.model.eval()
    try:
        before, batch = _predicted(trainer, growth.old, old)
        after, _ = _predicted(trainer, growth.new, trainer.model)
    finally:
        trainer.model.train()
    scored = int((batch.targets != IGNORED_TARGET).sum())
    return {
        "logits/max_delta": float((after - before).abs().max()),
        "loss/before": float(byte_loss(before, batch.targets)) / scored,
        "loss/after": float(byte_loss(after, batch.targets)) / scored,
        "bytes": scored,
    }


def _predicted(trainer: Trainer, network: Config, model: NeatModel) -> tuple[Tensor, Batch]:
    """Logits of `model`, whose inputs are those of `network`; the rows are the same whatever the inputs."""
    text, config = trainer.text, trainer.config
    preparer = make_preparer(network, text.models, text.patcher)
    stream = _native.WindowStream(text.corpus, preparer, lanes=config.data.lanes, prefetch=1)
    window = config.train.window
    rows = max(1, (config.train.micro_batch_bytes or config.train.batch_bytes) // window)
    try:
        arrays = stream.next(rows, window, config.patch_slots(window))
    finally:
        stream.close()
    batch = Batch.from_arrays(arrays, trainer.placement.device)
    return model(batch), batch


def _notes(trainer: Trainer, growth: Growth, state: dict[str, object], *, average_missing: bool) -> list[str]:
    text = trainer.text
    notes = []
    if average_missing:
        notes.append("the source kept no average: its raw weights were taken")
    if state["entropy_model"] != text.models.full.digest:
        notes.append("the n-gram model is that of this run's text, not the source's")
    if state["patcher"] != text.patcher.to_json():
        notes.append(f"patches follow another rule or threshold than in the source: {state['patcher']} there")
    if growth.changes:
        names = ", ".join(growth.changes)
        notes.append(f"the network computes something else than its source, because of {names}")
    return notes
