"""The parts of a running training, and how they become a checkpoint and come back from one.

The invariant: a run that was saved and restored continues bit for bit like one that never stopped (on a CPU, with a
length in steps or bytes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neat import _native
from neat.config.schema import Config
from neat.config.show import dump_toml
from neat.data.pipeline import Text
from neat.errors import CheckpointError
from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.neat import NeatModel
from neat.model.outputs import Outputs
from neat.optim.average import WeightAverage
from neat.optim.build import Optimizers
from neat.train import checkpoint
from neat.train.activation import Policy
from neat.train.device import Placement
from neat.train.guard import Guard
from neat.train.horizon import Horizon

STATE_VERSION = 2
RNG = "rng.torch_cpu"


@dataclass(slots=True)
class Trainer:
    """Everything that a step needs.

    Attributes:
        forward: The model, compiled where the placement says so.
        step: Finished updates, the skipped ones included.
        bytes_seen: Scored bytes of all finished steps.
        policy: Turns components off and on, where the configuration asks for it.
        on_gradients: Called between the backward pass and the update, where somebody watches.
        tuned: The choice of a run that tuned itself, as `neat.train.tuned` keeps it.
    """

    config: Config
    placement: Placement
    text: Text
    model: NeatModel
    forward: Callable[[Batch], Outputs]
    optimizers: Optimizers
    average: WeightAverage | None
    stream: _native.WindowStream
    horizon: Horizon
    guard: Guard
    policy: Policy | None = None
    step: int = 0
    bytes_seen: int = 0
    last_saved: int = field(default=-1)
    on_gradients: Callable[[], None] | None = None
    tuned: dict[str, Any] | None = None

    def next_batch(self) -> tuple[Batch, int]:
        """The rows of the next step, on the device, and how many of their positions are scored."""
        train = self.config.train
        window = self.horizon.advance(train, self.step)
        arrays = self.stream.next(train.batch_bytes // window, window, self.config.patch_slots(window))
        scored = int((arrays["targets"] != IGNORED_TARGET).sum())
        return Batch.from_arrays(arrays, self.placement.device), scored


def capture(trainer: Trainer) -> checkpoint.Contents:
    """The checkpoint of the present moment."""
    optimizer = dict(trainer.optimizers.state())
    optimizer[RNG] = torch.get_rng_state()
    average = trainer.average
    return checkpoint.Contents(
        model=trainer.model.state_dict(),
        average=average.state() | _buffers(trainer.model) if average is not None and average.updates else {},
        optimizer=optimizer,
        state={
            "version": STATE_VERSION,
            "step": trainer.step,
            "bytes_seen": trainer.bytes_seen,
            "skipped": trainer.guard.skipped,
            "skipped_in_a_row": trainer.guard.in_a_row,
            "average_updates": average.updates if average is not None else 0,
            "policy": trainer.policy.state() if trainer.policy is not None else None,
            "horizon": asdict(trainer.horizon),
            "stream": trainer.stream.state(),
            "patcher": trainer.text.patcher.to_json(),
            "entropy_model": trainer.text.models.full.digest,
            "tuned": trainer.tuned,
        },
        config=dump_toml(trainer.config),
        entropy_model=trainer.text.models.full.to_bytes(),
    )


def restore(trainer: Trainer, folder: Path) -> None:
    """Brings `trainer` to the moment of a verified checkpoint.

    Raises:
        CheckpointError: The checkpoint belongs to another model, other text or another version.
    """
    state = checkpoint.read_state(folder)
    _check(trainer, state, folder)
    contents = checkpoint.Contents(
        model=checkpoint.read_tensors(folder, checkpoint.MODEL),
        average=checkpoint.read_tensors(folder, checkpoint.AVERAGE),
        optimizer=checkpoint.read_tensors(folder, checkpoint.OPTIMIZER),
        state=state,
        config="",
        entropy_model=b"",
    )
    load(trainer, contents, folder)


def load(trainer: Trainer, contents: checkpoint.Contents, where: Path) -> None:
    """Brings `trainer` to the moment of `contents`; `where` they come from is for messages.

    Raises:
        CheckpointError: They belong to another model or another optimizer.
    """
    state = contents.state
    _load(trainer.model.state_dict(), contents.model, where)
    average = trainer.average
    if average is not None:
        if contents.average:
            _load(average.state() | _buffers(trainer.model), contents.average, where)
        average.updates = state["average_updates"]
    optimizer = dict(contents.optimizer)
    torch.set_rng_state(optimizer.pop(RNG))
    try:
        trainer.optimizers.load(optimizer)
    except KeyError as error:
        raise _mismatch(where, f"the optimizer state differs in {error.args[0]}") from error
    trainer.stream.close()
    trainer.stream = trainer.text.stream(trainer.config, state["stream"])
    trainer.horizon = Horizon(**state["horizon"])
    if trainer.policy is not None and state["policy"] is not None:
        trainer.policy.load(state["policy"])
    trainer.step, trainer.bytes_seen = state["step"], state["bytes_seen"]
    trainer.guard.skipped, trainer.guard.in_a_row = state["skipped"], state["skipped_in_a_row"]
    trainer.tuned = state.get("tuned")
    trainer.last_saved = trainer.step


def _buffers(model: nn.Module) -> dict[str, Tensor]:
    """What is saved of a model besides its parameters: running means, which nothing averages."""
    parameters = {name for name, _ in model.named_parameters()}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in parameters}


def _check(trainer: Trainer, state: dict[str, Any], folder: Path) -> None:
    if state.get("version") != STATE_VERSION:
        raise _mismatch(folder, f"its state has version {state.get('version')}, this version reads {STATE_VERSION}")
    if state["entropy_model"] != trainer.text.models.full.digest:
        raise CheckpointError(
            "the training text is not the one this run began with: its n-gram model differs",
            hint="restore the files named in data.sources, or start a new run with another --out",
            where=f"in {folder}",
        )
    if state["patcher"] != trainer.text.patcher.to_json():
        raise _mismatch(folder, "its patches follow another rule or threshold")


@torch.no_grad()
def _load(live: dict[str, Tensor], saved: dict[str, Tensor], folder: Path) -> None:
    if live.keys() != saved.keys():
        raise _mismatch(folder, "the parameters differ: " + ", ".join(sorted(live.keys() ^ saved.keys())[:3]))
    for name, tensor in live.items():
        if tensor.shape != saved[name].shape:
            raise _mismatch(folder, f"{name} is {list(saved[name].shape)}, the model has {list(tensor.shape)}")
        tensor.copy_(saved[name])


def _mismatch(folder: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint does not fit: {what}", hint="start a new run with another --out", where=f"in {folder}"
    )
