"""From a configuration to a `Trainer`: text, model, optimizers, in the order in which mistakes are cheapest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neat.config.schema import Config
from neat.data.pipeline import Text, open_text
from neat.model.batch import Batch
from neat.model.neat import NeatModel
from neat.model.outputs import Outputs
from neat.optim.average import Average, OwnAverage, WeightAverage
from neat.optim.build import Optimizers
from neat.train.activation import make_policy
from neat.train.allocator import keep_freed_memory
from neat.train.device import Placement, place
from neat.train.guard import Guard
from neat.train.horizon import Horizon
from neat.train.predict.predictor import make_predictor
from neat.train.state import Trainer


def build(config: Config) -> Trainer:
    """Opens the text and draws the model.

    Raises:
        ConfigError: A setting cannot be met on this machine.
        DataError: The text cannot be read.
    """
    placement = place(config.runtime)
    if placement.device.type == "cpu":
        keep_freed_memory()
    text = open_text(config)
    torch.manual_seed(config.seed)
    model = NeatModel(config).to(placement.device)
    trainer = assemble(config, placement, text, model, make_forward(model, placement))
    trainer.count_backward()
    return trainer


def assemble(
    config: Config, placement: Placement, text: Text, model: NeatModel, forward: Callable[[Batch], Outputs]
) -> Trainer:
    """A trainer at its first step around a text that is open and a model that is there."""
    optimizers = Optimizers(model, config.optim)
    return Trainer(
        config=config,
        placement=placement,
        text=text,
        model=model,
        forward=forward,
        optimizers=optimizers,
        average=_average(model, optimizers),
        stream=text.stream(config),
        horizon=Horizon.start(config.train),
        guard=Guard(config.train.max_skipped_steps),
        policy=make_policy(config.activation, model),
        predictor=make_predictor(config, optimizers),
    )


def _average(model: NeatModel, optimizers: Optimizers) -> Average | None:
    optim = optimizers.config
    if optimizers.averaged is not None:
        return OwnAverage(model, optimizers.averaged)
    return WeightAverage(model, optim.ema_decay, optim.ema_every) if optim.ema_decay else None


def make_forward(model: NeatModel, placement: Placement) -> Callable[[Batch], Outputs]:
    """The model as a function of a batch, compiled where the placement says so."""
    if not placement.compiled:
        return model.outputs
    # One graph per window length: shapes are static, so anything dynamic is a mistake worth an error. The embeddings
    # stay outside: the compiler knows no sparse gradients.
    compiled: Callable[[Tensor, Batch], Outputs] = torch.compile(model.trunk, fullgraph=True, dynamic=False)
    return lambda batch: compiled(model.embed(batch), batch)
