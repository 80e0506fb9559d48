"""Training on a finished model whose weights stay as they are: an expert vector, or the dispatcher.

The same frame as `loop.py`: a run directory, events, checkpoints, one command that goes on after a crash. A step is a
function of the seed, its number and the trained numbers alone, so a resumed run equals one that never stopped.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

import neat
from neat.config.adopt import adopt
from neat.config.schema import Config
from neat.errors import CheckpointError, DivergedError, Exit, NeatError
from neat.events.rundir import Run, open_run
from neat.events.writer import EventWriter
from neat.model.experts import files as expert_files
from neat.model.experts.files import ExpertFile
from neat.optim import schedule
from neat.train import checkpoint
from neat.train.control import Control
from neat.train.device import Placement, place
from neat.train.dispatcher import DispatcherTask
from neat.train.display import Display
from neat.train.expert import ExpertTask
from neat.train.loading import load_all, read_config
from neat.train.report import stopped_early
from neat.train.saving import newest_checkpoint, publish
from neat.train.signals import StopRequest
from neat.train.storage import Storage

STATE_VERSION = 1
HOPELESS_STEPS = 20
"""Steps from the first one without a right answer after which a warning is given: reward alone teaches nothing then."""


class Task(Protocol):
    """What is trained."""

    @property
    def parameters(self) -> dict[str, Tensor]:
        """What is trained, by name."""

    base: str
    """Digest of the base weights."""

    def facts(self) -> dict[str, object]:
        """What the `run` event says of the task."""

    def loss(self, step: int) -> tuple[Tensor, dict[str, float]]:
        """Loss of the step that follows `step` finished ones, and its metrics."""

    def evaluate(self) -> dict[str, float]:
        """Metrics on held-out questions; empty without any."""

    def file(self, step: int, metrics: dict[str, float]) -> tuple[str, ExpertFile]:
        """Name and content of the finished file."""

    def published(self, run: Path) -> Path:
        """Where the file stands in the run of the base."""


def base_config(path: str) -> Config:
    """The configuration of a base.

    Raises:
        CheckpointError: There is no checkpoint at `path`.
    """
    return read_config(checkpoint.find(Path(path)))


def run(config: Config, path: Path) -> int:
    """Trains from the newest checkpoint under `path`, or from the beginning; returns the exit code.

    Raises:
        NeatError: A mistake in settings or data, a base that cannot be read, a damaged run.
    """
    config = adopt(config, base_config(config.expert.base))
    with open_run(path, config) as directory, directory.events() as events, StopRequest() as stop:
        try:
            placement = place(config.runtime.model_copy(update={"compile": "off"}))
            model = load_all(Path(config.expert.base), device=placement.device.type).model
            kind: type[ExpertTask | DispatcherTask] = ExpertTask if config.train.mode == "expert" else DispatcherTask
            task: Task = kind(config, model, placement)
        except KeyboardInterrupt:
            return stopped_early(events)
        stop.begin()
        return Adaptation(config, task, placement, directory, events).run(stop)


class Adaptation:
    """One attempt.

    Args:
        config: The whole configuration.
        task: What is trained.
        placement: Where it computes.
        directory: The run directory, locked.
        events: Its event writer.
    """

    def __init__(
        self,
        config: Config,
        task: Task,
        placement: Placement,
        directory: Run,
        events: EventWriter,
    ) -> None:
        self.config, self.task, self.placement = config, task, placement
        self.directory, self.events, self.display = directory, events, Display()
        self.optimizer = torch.optim.Adam(list(task.parameters.values()), lr=config.expert.lr)
        self._start_adam()
        self.step, self._saved, self._wrong = 0, -1, 0

    def run(self, stop: StopRequest) -> int:
        """Restores, trains, writes the finished file."""
        try:
            resumed = self._restore()
            self._begin(resumed=resumed)
            total = self.config.train.max_steps
            control = Control(self.directory.paths.root, self.events, stop, self._save)
            while self.step < total and not stop.requested:
                self._take_step(total)
                control.poll(self.step)
            self._save()
            if self.step < total:
                self.events.write("end", self.step, reason="stopped on request", exit_code=int(Exit.STOPPED))
                self.display.note(f"stopped at step {self.step}, saved; run the same command again to go on")
                return Exit.STOPPED
            self._finish()
        except NeatError as error:
            code = int(error.exit_code)
            self.events.write("end", self.step, reason=error.title, message=str(error), exit_code=code)
            raise
        except BaseException as error:
            self.events.write("end", self.step, reason="internal error", message=f"{type(error).__name__}: {error}")
            raise
        return Exit.DONE

    def _begin(self, *, resumed: bool) -> None:
        facts = {"neat": neat.__version__, "torch": torch.__version__, "device": str(self.placement.device)}
        reasons = [reason for reason in self.placement.reasons if not reason.startswith("compile")]
        task = self.task.facts()
        self.events.write("run", self.step, **facts, reasons=reasons, mode=self.config.train.mode, **task)
        if self.events.continues:
            self.events.write("resume", self.step)
        for reason in reasons:
            self.display.note(reason)
        self.display.note(f"{task['expert/numbers']:,} numbers are trained on {task['data/questions']:,} questions")
        self.display.note(f"resuming after step {self.step}" if resumed else "starting at step 0")

    def _take_step(self, total: int) -> None:
        start, train = time.perf_counter(), self.config.train
        scale = schedule.lr_scale(self.config.optim, self.step, total)
        loss, metrics = self.task.loss(self.step)
        torch.autograd.backward(loss)
        gradients = [tensor.grad for tensor in self.task.parameters.values() if tensor.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not bool(torch.isfinite(loss) & torch.isfinite(norm)):
            raise DivergedError(f"the loss or gradient of step {self.step + 1} is not finite", hint="lower expert.lr")
        if self.config.expert.clip_norm:
            torch._foreach_mul_(gradients, (self.config.expert.clip_norm / (norm + 1e-12)).clamp(max=1.0))
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.expert.lr * scale
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self._watch(metrics)
        if self.step % train.log_every == 0 or self.step == 1:
            self._tell(float(loss.detach()), float(norm), scale, time.perf_counter() - start, metrics)
        if self.step == 1 or self.step % self.config.checkpoint.every_steps == 0:
            self._save()
        if train.eval_every and self.step % train.eval_every == 0 and self.step < total:
            self._save()
            self._evaluate()

    def _watch(self, metrics: dict[str, float]) -> None:
        """Warns once when a training by reward has nothing to reward."""
        self._wrong = self._wrong + 1 if metrics.get("expert/sampled_accuracy") == 0 else self.step + HOPELESS_STEPS
        if self._wrong == self.step == HOPELESS_STEPS:
            message = (
                f"none of the answers of the first {HOPELESS_STEPS} steps was right: there is nothing to learn from; "
                "reward needs a base that succeeds sometimes, expert.method=cross_entropy learns from the given answers"
            )
            self.events.write("alert", self.step, severity="warning", message=message)
            self.display.note(message)

    def _tell(self, loss: float, norm: float, scale: float, seconds: float, metrics: dict[str, float]) -> None:
        common = {
            "train/loss": loss,
            "train/total_steps": self.config.train.max_steps,
            "optim/lr": self.config.expert.lr * scale,
            "optim/grad_norm": norm,
            "perf/step_s": seconds,
        }
        self.events.write("step", self.step, **common, **metrics)
        shown = " ".join(f"{name.rpartition('/')[2]}={value:.4g}" for name, value in metrics.items())
        self.display.note(f"step={self.step} total={self.config.train.max_steps} loss={loss:.4g} {shown}")

    def _evaluate(self) -> dict[str, float]:
        start = time.perf_counter()
        metrics = self.task.evaluate()
        if metrics:
            self.events.write("eval", self.step, **metrics, **{"eval/seconds": round(time.perf_counter() - start, 3)})
            self.display.note("held-out: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
        else:
            self.display.note("no held-out questions: data.validation and data.validation_share name none")
        return metrics

    def _finish(self) -> None:
        name, content = self.task.file(self.step, self._evaluate())
        path = self.directory.paths.root / name
        expert_files.write(path, content)
        self._publish(content)
        self.events.write("end", self.step, reason="finished", exit_code=int(Exit.DONE))
        self.display.note(f"finished: {self.step} steps, {path}")

    def _publish(self, content: ExpertFile) -> None:
        """Puts a copy beside the base, where `neat generate` finds it by name."""
        base = Path(self.config.expert.base)
        if not (base / "config.toml").is_file() or (base / checkpoint.MANIFEST).exists():
            return  # a lone checkpoint: nothing is added to it
        target = self.task.published(base)
        try:
            expert_files.write(target, content)
            self.display.note(f"published as {target}")
        except CheckpointError as error:
            self.events.write("alert", self.step, severity="warning", message=str(error))
            self.display.note(str(error))

    def _save(self) -> None:
        if self._saved == self.step or self.step == 0:
            return
        contents = checkpoint.Contents(
            model={name: tensor.detach() for name, tensor in self.task.parameters.items()},
            average={},
            optimizer=self._adam_state(),
            state={"version": STATE_VERSION, "step": self.step, "mode": self.config.train.mode, "base": self.task.base},
            config=(self.directory.paths.config).read_text(encoding="utf-8"),
            entropy_model=b"",  # that of the base serves
        )
        root, keep = self.directory.paths.checkpoints, self.config.checkpoint.keep
        publish(root, self.step, contents, self.events, keep, Storage())
        self._saved = self.step

    def _restore(self) -> bool:
        root = self.directory.paths.checkpoints
        folder, refused = newest_checkpoint(root, self.events, self.step)
        if folder is None:
            return False
        state = checkpoint.read_state(folder)
        self._check(state, folder)
        saved = checkpoint.read_tensors(folder, checkpoint.MODEL) | checkpoint.read_tensors(
            folder, checkpoint.OPTIMIZER
        )
        live = self.task.parameters | self._adam_state()
        if {n: t.shape for n, t in live.items()} != {n: t.shape for n, t in saved.items()}:
            raise CheckpointError("the checkpoint does not fit the task", hint="choose another --out")
        with torch.no_grad():
            for name, tensor in live.items():
                tensor.copy_(saved[name])
        self.step = self._saved = state["step"]
        for name in refused:
            checkpoint.set_aside(root, name)
        return True

    def _check(self, state: dict[str, Any], folder: Path) -> None:
        if state.get("version") != STATE_VERSION:
            raise CheckpointError(f"`{folder}` was written by another version of neat", hint="choose another --out")
        if state["base"] != self.task.base:
            raise CheckpointError(
                f"the base is not the one this run began with: its weights were {state['base']}, now {self.task.base}",
                hint="restore the base, or start a new run with another --out",
            )

    def _start_adam(self) -> None:
        """Creates Adam's state tensors, which torch makes only at the first step: a state saved before it is whole."""
        for parameter in self.task.parameters.values():
            self.optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }

    def _adam_state(self) -> dict[str, Tensor]:
        return {
            f"adam.{key}.{name}": value
            for name, parameter in self.task.parameters.items()
            for key, value in self.optimizer.state[parameter].items()
        }
