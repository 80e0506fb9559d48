"""Training, on one screen: take rows, take a gradient, check it, apply it, tell about it, save it.

Everything else has its own file: the parts of a run in `state.py`, their making in `build.py`, the length of a run in
`horizon.py`, what is written and shown in `report.py`, the files of a checkpoint in `checkpoint.py`, the
weights of another run in `growth.py`. Experts on a finished model have their own loop in `adaptation.py`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from neat.config.schema import Config
from neat.events.rundir import open_run
from neat.model.batch import Batch, micro_batches
from neat.model.losses import objective
from neat.optim import schedule
from neat.train import adaptation, growth
from neat.train.build import build
from neat.train.control import Control
from neat.train.display import Display
from neat.train.horizon import Clock
from neat.train.progress import Progress
from neat.train.report import Reporter, stopped_early
from neat.train.saving import Saver
from neat.train.signals import StopRequest
from neat.train.state import Trainer
from neat.train.system import SystemSampler
from neat.train.tracing import NOTHING, Watch
from neat.train.tuned import settle
from neat.train.uploads import Uploads


def run(config: Config, path: Path, watch: Watch = NOTHING) -> int:
    """Trains from the newest checkpoint under `path`, or from the beginning; returns the exit code.

    Args:
        config: What to train on what.
        path: Run directory.
        watch: Components to tell of in the first batches.

    Raises:
        NeatError: A mistake in settings or data, a damaged run, a run that diverged.
    """
    if config.train.mode != "text":
        return adaptation.run(config, path)
    with open_run(path, config) as directory, directory.events() as events, StopRequest() as stop:
        try:
            source = growth.find(config, directory.paths.checkpoints)
            trainer = build(config)
        except KeyboardInterrupt:
            return stopped_early(events)
        stop.begin()
        saver, display = Saver(trainer, directory, events), Display()
        reporter = Reporter(directory, events, display, watch)
        machine = SystemSampler(events, path, config.monitor.sample_s, lambda: trainer.step)
        with reporter.closing(trainer), machine, Uploads(directory, events, display.note) as uploads:
            begin(trainer, source, saver, reporter)
            settle(trainer, directory, reporter, train_step, lambda: stop.requested)
            if not train(trainer, reporter, saver, stop, Control(path, events, stop, saver.save)):
                return reporter.stopped(trainer)
            reporter.evaluate(trainer)
            reporter.sample(trainer)
            uploads.finish(stop)
            return reporter.finished(trainer)


def begin(trainer: Trainer, source: growth.Source | None, saver: Saver, reporter: Reporter) -> None:
    """Goes on from the newest checkpoint, or grows from another run, or stands at the first step; tells which."""
    resumed = saver.restore()
    grown = growth.grow(trainer, source) if source is not None and not resumed else None
    reporter.begin(trainer, resumed=resumed)
    if grown is not None:
        reporter.grown(grown)


def train(trainer: Trainer, reporter: Reporter, saver: Saver, stop: StopRequest, control: Control) -> bool:
    """Takes steps until the horizon; false when a person asked to stop before it. Saved either way."""
    settings, clock = trainer.config.train, Clock(trainer.config.train, trainer.horizon)
    diagnostics = reporter.diagnostics(trainer)
    while trainer.step < trainer.horizon.total and not stop.requested:
        batch, scored = trainer.next_batch()
        reporter.choose_components(trainer, batch)
        with diagnostics.watching(batch):
            progress = train_step(trainer, batch, scored)
        if trainer.predictor is not None:
            trainer.predictor.advance(trainer)
        if clock.tick(trainer.step):
            reporter.estimated(trainer)
        reporter.step(trainer, progress)
        if saver.due():
            saver.save()
        if control.poll(trainer.step):
            reporter.rested(trainer)
            clock.pause()
        if settings.eval_every and trainer.step % settings.eval_every == 0 and trainer.step < trainer.horizon.total:
            saver.save()
            reporter.evaluate(trainer)
            clock.pause()
    saver.save()
    return trainer.step >= trainer.horizon.total


def train_step(trainer: Trainer, batch: Batch, scored: int) -> Progress:
    """One update from a batch with `scored` targets: predict, take the gradient there, check it, correct by it."""
    optim, steps, predictor = trainer.config.optim, trainer.horizon.total, trainer.predictor
    scale = schedule.lr_scale(optim, trainer.step, steps) * (predictor.factors.lr if predictor is not None else 1.0)
    if predictor is not None:
        predictor.begin_step(trainer.step, scale)
    parts = gradients(trainer, batch, scored)
    norm = gradient_norm(trainer, optim.clip_norm)
    if predictor is not None:
        predictor.on_gradients(trainer.step)
    if trainer.on_gradients is not None:
        trainer.on_gradients()
    accept = trainer.guard.allows(parts["byte"], norm, trainer.step)
    if trainer.model.latent.halting is not None:
        trainer.model.latent.halting.calibrate(accept=accept)
    if accept:
        if predictor is not None:
            predictor.before_update()
        trainer.optimizers.step(scale, schedule.momentum(optim, trainer.step, steps))
    trainer.optimizers.zero_grad()
    trainer.step += 1
    trainer.bytes_seen += scored
    if predictor is not None:
        predictor.end_step(trainer, trainer.guard.loss, trainer.guard.norm)
    if trainer.average is not None and trainer.step >= optim.warmup_share * steps:
        trainer.average.update(trainer.step)
    return Progress(parts["byte"], norm, parts)


def gradients(trainer: Trainer, batch: Batch, scored: int) -> dict[str, Tensor]:
    """Gradients of the mean loss over a batch, micro-batch by micro-batch; returns the parts of the objective."""
    parts: dict[str, Tensor] = {}
    latent = trainer.model.latent
    latent.progress(trainer.step, trainer.horizon.total)
    for some in micro_batches(batch, trainer.config.train.micro_batch_bytes):
        with trainer.placement.autocast():
            outputs = trainer.forward(some)
        total, losses = objective(outputs, some, trainer.config)
        torch.autograd.backward(total / scored)
        for name, part in losses.items():
            parts[name] = parts.get(name, 0) + part.detach() / scored
        if latent.halting is not None:
            latent.halting.observe(outputs, some)
    return parts


def gradient_norm(trainer: Trainer, limit: float) -> Tensor:
    """Norm over all dense gradients; where `limit` > 0 they are scaled down to it first seen."""
    gradients = trainer.optimizers.dense_gradients()
    norm = torch.nn.utils.get_total_norm(gradients)
    if limit:
        torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp(max=1.0))
    return norm
