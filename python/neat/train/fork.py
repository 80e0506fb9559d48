"""Short branches from one moment of a training, in the same process, and the way back to it bit for bit.

All branches of a fork start from the same weights, optimizer state and random numbers, read the same rows in the same
order, and are scored on the same held-back rows of the training text, which no branch trains on. The validation text is
never seen. What the moment is, is what a checkpoint keeps (`state.capture`), held on the host; text, n-gram model and,
where its settings are the same, the compiled network are shared by all branches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from neat.config.compare import difference
from neat.config.schema import Config
from neat.errors import CheckpointError, ConfigError, DataError
from neat.events.rundir import HARMLESS_KEYS
from neat.model.batch import IGNORED_TARGET, Batch
from neat.model.neat import NeatModel
from neat.train import checkpoint
from neat.train.activation import apply_policy, switch
from neat.train.build import assemble, make_forward
from neat.train.predict.ledger import FORWARD_SHARE
from neat.train.predict.probe import losses_on
from neat.train.progress import Progress
from neat.train.report import evaluation_weights
from neat.train.state import Trainer, capture, load

Step = Callable[[Trainer, Batch, int], Progress]
"""One update from a batch with so many targets."""
TEXT_KEYS = (
    *("data.", "patcher.", "ngram.", "seed", "network.patches", "network.hash_", "network.ngram_features"),
    *("train.patch_curriculum", "vision.on", "vision.codec", "vision.codes", "vision.grid", "vision.image_size"),
)
"""Beginnings of the keys that decide how the text is read; a branch reads it as the run does."""
PREDICTION_KEYS = ("predict.", "dynamics.")
"""Beginnings of the keys of hybrid prediction."""
MODEL_KEYS = ("network.", "memory.", "recursion.", "expert.", "vision.")
"""Beginnings of the keys that a network is built from."""
LENGTH_KEYS = ("train.max_steps", "train.max_bytes", "train.budget")
MOMENT = Path("the moment of the fork")


class Fork:
    """One moment of `trainer`; a context that ends at that moment again, whatever the branches did.

    Args:
        trainer: Stands at the moment. It is the branch while one runs, so that no memory is needed twice.
        take_step: Takes a step of it.
    """

    def __init__(self, trainer: Trainer, take_step: Step) -> None:
        self.trainer, self.config = trainer, trainer.config
        self._take_step = take_step
        self._model, self._forward = trainer.model, trainer.forward
        self._last_saved, self._looped = trainer.last_saved, trainer.model.latent.looped
        self._contents = _on_host(capture(trainer))
        self._rows: list[dict[str, Any]] = []
        self._state = self._contents.state["stream"]
        self.spent = 0.0
        """Positions trained on in branches so far, and a third of those that were scored."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._begin(self.config, self._contents)
        self.trainer.last_saved, self.trainer.model.latent.looped = self._last_saved, self._looped

    def hold_back(self, batches: int) -> None:
        """Takes the next `batches` batches of the training text for scoring; branches start behind them.

        Called again, later branches read the text behind all that earlier ones read.
        """
        train = self.config.train
        slots = self.config.patch_slots(train.window)
        stream = self.trainer.text.stream(self.config, self._state)
        try:
            rows = train.batch_bytes // train.window
            self._rows = [stream.next(rows, train.window, slots) for _ in range(batches)]
            self._state = stream.state()
        finally:
            stream.close()

    @contextmanager
    def branch(self, config: Config, steps: int) -> Iterator[Trainer]:
        """The trainer at the moment with other settings, to end after `steps` steps.

        Args:
            config: As `ending` made it.
            steps: Length of the branch.

        Raises:
            ConfigError: A setting that differs cannot change in a branch.
        """
        check_changes(self.config, config)
        self._begin(config, replace(self._contents, state=self._contents.state | {"stream": self._state}))
        trainer = self.trainer
        trainer.horizon.total, trainer.horizon.measured = trainer.step + steps, len(config.train.stages)
        yield trainer

    def steps(self, trainer: Trainer, steps: int) -> Iterator[Progress]:
        """Takes `steps` steps of a branch, one after the other.

        Raises:
            DivergedError: Too many updates in a row had numbers that are not finite.
        """
        for _ in range(steps):
            batch, scored = trainer.next_batch()
            if trainer.policy is not None:
                apply_policy(trainer.policy, trainer.model, batch, trainer.step + 1)
            self.spent += trainer.config.train.batch_bytes
            progress = self._take_step(trainer, batch, scored)
            if trainer.predictor is not None:
                trainer.predictor.advance(trainer)
            yield progress

    def go_on(self) -> None:
        """The next branches read the text behind what the present one has read."""
        self._state = self.trainer.stream.state()

    def require_text(self, positions: int) -> None:
        """Refuses branches of `positions` positions that would come round to the rows they are scored on.

        Raises:
            DataError: The training text is too short.
        """
        held_back = sum(arrays["ids"].size for arrays in self._rows)
        num_bytes = self.trainer.text.corpus.num_bytes
        if positions + held_back > num_bytes:
            raise DataError(
                f"branches of {positions:,} positions would come round to the {held_back:,} that they are scored on: "
                f"the training text has {num_bytes:,} bytes",
                hint="make the branches shorter, or train on more text",
            )

    def score(self) -> list[float]:
        """Loss on each held-back batch in nats per byte, at the averaged weights where the branch has them."""
        trainer = self.trainer
        device = trainer.placement.device
        batches = [
            (Batch.from_arrays(arrays, device), int((arrays["targets"] != IGNORED_TARGET).sum()))
            for arrays in self._rows
        ]
        self.spent += FORWARD_SHARE * sum(batch.ids.numel() for batch, _ in batches)
        with evaluation_weights(trainer):
            return losses_on(trainer, batches)

    def _begin(self, config: Config, contents: checkpoint.Contents) -> None:
        """Makes `trainer` one with the settings `config` at the moment of `contents`."""
        trainer = self.trainer
        # An update that raised has left its gradients and its observations behind.
        trainer.optimizers.zero_grad()
        if trainer.model.latent.halting is not None:
            trainer.model.latent.halting.calibrate(accept=False)
        if trainer.policy is not None:
            switch(trainer.policy, trainer.model, frozenset(trainer.policy.available))
        trainer.stream.close()
        model, forward = self._network(config)
        fresh = assemble(config, trainer.placement, trainer.text, model, forward)
        for part in fields(Trainer):
            setattr(trainer, part.name, getattr(fresh, part.name))
        try:
            load(trainer, self._prediction(contents), MOMENT)
        except CheckpointError as error:
            what = error.message.removeprefix("the checkpoint does not fit: ")
            raise ConfigError(
                f"a branch cannot go on from this moment: {what}",
                hint="settings that change what the optimizer keeps can only be compared in runs of their own",
            ) from error
        if trainer.policy is not None:
            switch(trainer.policy, trainer.model, trainer.policy.active())

    def _prediction(self, contents: checkpoint.Contents) -> checkpoint.Contents:
        """`contents` for a branch whose settings of prediction are others.

        The averages that both know go on, and the phase; the dynamics model and whatever else there is begins anew.
        """
        trainer = self.trainer
        fresh = trainer.predictor
        keys = [key for key, _, _ in difference(self.config, trainer.config) if key.startswith(PREDICTION_KEYS)]
        if fresh is None or not keys:
            return contents
        values, saved = fresh.values(), contents.state["predict"]
        if saved is not None:
            values |= {name: saved[name] for name in ("state", "realised", "anchor_step")}
        tensors = fresh.tensors(0)
        same = {name: kept for name, kept in contents.predict.items() if _shape(tensors, name) == list(kept.shape)}
        state = contents.state | {"predict": values}
        return replace(contents, state=state, predict=tensors | same, dynamics=fresh.watch.model_state())

    def _network(self, config: Config) -> tuple[NeatModel, Callable[[Batch], Any]]:
        """The network of the run, or where settings of its own differ, another one of the same shape."""
        keys = [key for key, _, _ in difference(self.config, config) if key.startswith(MODEL_KEYS)]
        if not keys:
            return self._model, self._forward
        _require_shapes(self._model, config, keys)
        model = NeatModel(config).to(self.trainer.placement.device)
        return model, make_forward(model, self.trainer.placement)


def check_changes(base: Config, config: Config) -> None:
    """Refuses settings that no branch can change.

    Raises:
        ConfigError: The text would be read differently, another device used, or nothing at all would change.
    """
    for key, _, _ in difference(base, config):
        if key.startswith(TEXT_KEYS):
            raise ConfigError(
                f"{key} cannot differ between branches: it decides how the text is read",
                hint="compare it in runs of their own",
            )
        if key.startswith("runtime.") or key == "train.mode":
            raise ConfigError(f"{key} cannot differ between branches", hint="compare it in runs of their own")
        if key in HARMLESS_KEYS or key.startswith(("train.tune", "train.diagnose_")):
            raise ConfigError(f"{key} does not change the course of training", hint="there is nothing to compare")


def _require_shapes(model: NeatModel, config: Config, keys: list[str]) -> None:
    with torch.device("meta"):
        other = NeatModel(config).state_dict()
    there = model.state_dict()
    differs = [name for name in {**there, **other} if _shape(there, name) != _shape(other, name)]
    if differs:
        name = differs[0]
        raise ConfigError(
            f"{' and '.join(keys)} would change the shape of the model: {name} is {_shape(there, name)} here and "
            f"{_shape(other, name)} there",
            hint="a branch keeps the weights of the run; compare other shapes in runs of their own",
        )


def _shape(tensors: dict[str, Tensor], name: str) -> list[int] | None:
    return list(tensors[name].shape) if name in tensors else None


def _on_host(contents: checkpoint.Contents) -> checkpoint.Contents:
    """A copy in host memory that later steps do not touch."""

    def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}

    return replace(
        contents,
        model=copied(contents.model),
        average=copied(contents.average),
        optimizer=copied(contents.optimizer),
        predict=copied(contents.predict),
        # As a checkpoint would hold it: nothing in it is an object that goes on changing.
        state=json.loads(json.dumps(contents.state)),
        entropy_model=b"",
    )
