"""The parts of a running training, and how they become a checkpoint and come back from one.

The invariant: a run that was saved and restored continues bit for bit like one that never stopped (on a CPU, with a
length in steps or bytes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from neat.config.schema import Config
from neat.config.show import dump_toml
from neat.data.pipeline import Text
from neat.data.stream import Stream
from neat.errors import CheckpointError
from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.neat import NeatModel
from neat.model.outputs import Outputs
from neat.optim.average import Average
from neat.optim.build import Optimizers
from neat.train import checkpoint
from neat.train.activation import Policy
from neat.train.device import Placement
from neat.train.guard import Guard
from neat.train.horizon import Horizon

if TYPE_CHECKING:
    from neat.train.predict.predictor import Predictor

STATE_VERSION = 3
RNG = "rng.torch_cpu"


class Draw(NamedTuple):
    """What a batch is drawn with: rows, positions per row, patch slots, mean patch length of a curriculum's stage, and
    the state of the stream before it.
    """

    rows: int
    window: int
    slots: int
    length: float | None
    state: str = ""


@dataclass(slots=True)
class Trainer:
    """Everything that a step needs.

    Attributes:
        forward: The model, compiled where the placement says so.
        step: Finished updates, the skipped ones included.
        bytes_seen: Scored bytes of all finished steps.
        policy: Turns components off and on, where the configuration asks for it.
        predictor: Hybrid prediction, where the configuration asks for it.
        backward_passes: Backward passes since the beginning, counted where gradients arrive.
        on_gradients: Called between the backward pass and the update, where somebody watches.
        tuned: The choice of a run that tuned itself, as `neat.train.tuned` keeps it.
    """

    config: Config
    placement: Placement
    text: Text
    model: NeatModel
    forward: Callable[[Batch], Outputs]
    optimizers: Optimizers
    average: Average | None
    stream: Stream
    horizon: Horizon
    guard: Guard
    policy: Policy | None = None
    predictor: Predictor | None = None
    backward_passes: int = 0
    step: int = 0
    bytes_seen: int = 0
    last_saved: int = field(default=-1)
    on_gradients: Callable[[], None] | None = None
    tuned: dict[str, Any] | None = None

    def next_batch(self) -> tuple[Batch, int]:
        """The rows of the next step, on the device, and how many of their positions are scored."""
        return self.draw(self.draw_shape())

    def draw_shape(self) -> Draw:
        """Shape of the next step's batch; enters the stage of the curriculum that the step belongs to."""
        train = self.config.train
        window = self.horizon.advance(train, self.step)
        length = self.horizon.present(train).patch_length
        return Draw(train.batch_bytes // window, window, self.config.patch_slots(window, length), length)

    def draw(self, shape: Draw) -> tuple[Batch, int]:
        """Rows from the stream, on the device, and how many of their positions are scored."""
        arrays = self.stream.next(shape.rows, shape.window, shape.slots, shape.length)
        scored = int((arrays["targets"] != IGNORED_TARGET).sum())
        return Batch.from_arrays(arrays, self.placement.device), scored

    def count_backward(self) -> None:
        """Counts backward passes from now on, by a hook where the gradient of the head's weight arrives."""

        def count(parameter: Tensor) -> None:
            self.backward_passes += 1

        self.model.head.weight.register_post_accumulate_grad_hook(count)  # type: ignore[no-untyped-call]


def capture(trainer: Trainer) -> checkpoint.Contents:
    """The checkpoint of the present moment."""
    optimizer = dict(trainer.optimizers.state())
    optimizer[RNG] = torch.get_rng_state()
    average, predictor = trainer.average, trainer.predictor
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
            "backward_passes": trainer.backward_passes,
            "predict": predictor.values() if predictor is not None else None,
            "horizon": asdict(trainer.horizon),
            "stream": trainer.stream.state(),
            "patcher": trainer.text.patcher.to_json(),
            "entropy_model": trainer.text.models.full.digest,
            "tuned": trainer.tuned,
        },
        config=dump_toml(trainer.config),
        entropy_model=trainer.text.models.full.to_bytes(),
        predict=predictor.tensors(trainer.step) if predictor is not None else {},
        dynamics=predictor.watch.model_state() if predictor is not None else b"",
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
        predict=checkpoint.read_tensors(folder, checkpoint.PREDICT),
        dynamics=checkpoint.read_dynamics(folder),
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
    trainer.backward_passes = state["backward_passes"]
    trainer.guard.skipped, trainer.guard.in_a_row = state["skipped"], state["skipped_in_a_row"]
    trainer.tuned = state.get("tuned")
    if trainer.predictor is not None:
        try:
            trainer.predictor.load(trainer, state["predict"], contents.predict, contents.dynamics)
        except KeyError as error:
            raise _mismatch(where, f"the state of prediction differs in {error.args[0]}") from error
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
