"""What a run tells: events for programs, lines or a progress bar for people. Both show the same numbers."""

from __future__ import annotations

import codecs
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

import neat
from neat.data.pipeline import ENTROPY_RULES
from neat.errors import Exit, NeatError
from neat.events.rundir import Run
from neat.events.writer import EventWriter
from neat.model.batch import Batch
from neat.model.halting import ALIKE, SameDepth
from neat.model.losses import NATS_PER_BIT
from neat.model.text.document import Document, beginning, leading_text
from neat.model.text.model import TextModel
from neat.optim import schedule
from neat.train.activation import apply_policy, switch
from neat.train.diagnostics import Diagnostics
from neat.train.display import Display
from neat.train.progress import Progress
from neat.train.quality import degeneracy
from neat.train.state import Trainer
from neat.train.tracing import Tracer, Watch

SAMPLE_PROMPT_BYTES = 200
"""Bytes of held-out text that a sample continues."""


class Reporter:
    """Writes the events of one attempt and shows them.

    Args:
        directory: The run directory.
        events: Its event writer.
        display: What people see.
        watch: Components to tell of in the first batches.
    """

    def __init__(self, directory: Run, events: EventWriter, display: Display, watch: Watch) -> None:
        self._directory, self._events, self._display, self._watch = directory, events, display, watch
        self._since = (time.perf_counter(), 0, 0)
        self._stage = -1
        self._depths = SameDepth()

    def begin(self, trainer: Trainer, *, resumed: bool) -> None:
        """The attempt starts: what it is, where it runs, from which step."""
        placement, text = trainer.placement, trainer.text
        parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
        optimizers = [list(row) for row in trainer.optimizers.table()]
        facts = {
            "neat": neat.__version__,
            "torch": torch.__version__,
            "device": str(placement.device),
            "reasons": list(placement.reasons),
            "parameters": parameters,
            "optimizers": optimizers,
            "data/documents": text.corpus.num_documents,
            "data/bytes": text.corpus.num_bytes,
            "data/digest": text.corpus.digest,
            "patcher": text.patcher.to_json(),
        }
        self._events.write("run", trainer.step, **facts)
        if self._events.continues:
            # Also from step 0: an attempt that was killed before its first checkpoint may have reported steps.
            self._events.write("resume", trainer.step)
        if resumed:
            self._stage = trainer.horizon.stage
        self._display.begin(trainer, parameters, resumed=resumed)
        self._since = (time.perf_counter(), trainer.step, trainer.bytes_seen)

    def grown(self, facts: dict[str, object]) -> None:
        """The weights came from another run: what grew from what, and how far the predictions moved."""
        self._events.write("growth", 0, **facts)
        self._directory.record(growth=facts)
        self._display.grown(facts)

    def estimated(self, trainer: Trainer) -> None:
        """A time budget became a number of steps."""
        horizon = trainer.horizon
        data = {"total_steps": horizon.total, "spent_s": round(horizon.spent_s, 3), "stage": horizon.stage}
        self._events.write("budget", trainer.step, **data)
        self._display.note(f"budget {trainer.config.train.budget}: {horizon.total} steps")

    def probe(self, step: int, data: Mapping[str, object]) -> None:
        """A branch from finished step `step` of a run that tunes itself has ended, or its choice is made."""
        self._events.write("probe", step, **data)
        loss = f": {data['loss']:.4f} nats per byte" if data["loss"] is not None else ""
        self._display.note(f"tuning: {data['name']}{loss}: {data['outcome']}: {data['reason']}")

    def tuned(self, trainer: Trainer) -> None:
        """The run goes on with the settings that it chose."""
        horizon = trainer.horizon
        if trainer.config.train.budget_s is None:
            data = {"total_steps": horizon.total, "spent_s": round(horizon.spent_s, 3), "stage": horizon.stage}
            self._events.write("budget", trainer.step, **data)
        self._display.optimizers(trainer)
        self._since = (time.perf_counter(), trainer.step, trainer.bytes_seen)

    def diagnostics(self, trainer: Trainer) -> Diagnostics:
        """Watches the steps that `train.diagnose_every` names, and the first batches where somebody asked for it."""
        experts = trainer.config.expert.count > 0
        return Diagnostics(
            trainer, self._events, Tracer(trainer.model, self._watch, experts=experts, say=self._display.note)
        )

    def choose_components(self, trainer: Trainer, batch: Batch) -> None:
        """Which components take part in the next step; a change is an event with its reason."""
        if trainer.policy is None:
            return
        for name, on, reason in apply_policy(trainer.policy, trainer.model, batch, trainer.step + 1):
            self._events.write("activation", trainer.step, component=name, on=on, reason=reason)
            self._display.note(f"step {trainer.step}: {name} {'on' if on else 'off'}: {reason}")

    def step(self, trainer: Trainer, progress: Progress) -> None:
        """Metrics of the step just finished, at the first one and every `train.log_every`; a new window at once."""
        config, horizon = trainer.config, trainer.horizon
        if horizon.stage != self._stage:
            self._stage = horizon.stage
            self._events.write("stage", trainer.step, stage=horizon.stage, **stage_facts(trainer))
        if trainer.predictor is not None:
            self._predicted(trainer)
        if trainer.guard.in_a_row:
            message = "an update with a loss or gradient that is not finite was skipped"
            self._events.write("alert", trainer.step, severity="warning", message=message)
            self._display.note(f"step {trainer.step}: {message}")
        if trainer.step % config.train.log_every and trainer.step != 1:
            return
        metrics = self._metrics(trainer, progress)
        if self._depths.note(metrics):
            message = f"every position stopped at one depth in {ALIKE} reported steps: halting adapts to nothing"
            self._events.write("alert", trainer.step, severity="warning", message=message)
            self._display.note(f"step {trainer.step}: {message}")
        self._events.write("step", trainer.step, **metrics)
        self._display.step(trainer, metrics)

    def _predicted(self, trainer: Trainer) -> None:
        """What hybrid prediction did since the last step; people see moves, jumps and rollbacks."""
        assert trainer.predictor is not None
        for kind, data in trainer.predictor.told.drain():
            self._events.write(kind, trainer.step, **data)
            match kind:
                case "phase" if data["accepted"]:
                    self._display.note(f"step {trainer.step}: {data['from']} -> {data['to']}: {data['reason']}")
                case "rollback" | "alert":
                    self._display.note(f"step {trainer.step}: {kind}: {data.get('reason', data.get('message'))}")

    def _metrics(self, trainer: Trainer, progress: Progress) -> dict[str, object]:
        loss = float(progress.loss)
        now, (then, step, seen) = time.perf_counter(), self._since
        self._since = (now, trainer.step, trainer.bytes_seen)
        stream = trainer.stream.statistics()
        total, optim = trainer.horizon.total, trainer.config.optim
        positions = max(1, stream["positions"])
        return {
            "train/loss": loss,
            "train/bpb": loss / NATS_PER_BIT,
            "train/bytes": trainer.bytes_seen,
            "train/total_steps": total,
            "train/window": trainer.horizon.window(trainer.config.train),
            "train/skipped_steps": trainer.guard.skipped,
            "optim/lr": optim.lr * schedule.lr_scale(optim, trainer.step - 1, total) * _factor(trainer),
            "optim/grad_norm": float(progress.norm),
            "perf/bytes_per_s": (trainer.bytes_seen - seen) / (now - then),
            "perf/step_s": (now - then) / max(1, trainer.step - step),
            "data/epoch": stream["epoch"],
            "data/wait_s": stream["wait_s"],
            "data/padding": stream["padding"] / positions,
            "patch/mean_length": (positions - stream["padding"]) / max(1, stream["patches"]),
            "perf/backward_passes": trainer.backward_passes,
            **(trainer.predictor.metrics() if trainer.predictor is not None else {}),
            **progress.losses(),
            **self._activity(trainer),
            **self._in_force(trainer),
            **trainer.model.latent.metrics(),
        }

    @staticmethod
    def _activity(trainer: Trainer) -> dict[str, float]:
        if trainer.policy is None:
            return {}
        return {f"activation/{name}": share for name, share in trainer.policy.share().items()}

    @staticmethod
    def _in_force(trainer: Trainer) -> dict[str, float]:
        """The settings that a run chose for itself, beside `optim/lr`."""
        if trainer.tuned is None:
            return {}
        optim, total = trainer.config.optim, trainer.horizon.total
        momentum = optim.beta1 if optim.name == "adamw" else schedule.momentum(optim, trainer.step - 1, total)
        return {
            "optim/adamw_lr": optim.adamw_lr * schedule.lr_scale(optim, trainer.step - 1, total),
            "optim/momentum": momentum,
            "train/batch_bytes": trainer.config.train.batch_bytes,
        }

    def evaluate(self, trainer: Trainer) -> None:
        """Bits per byte on held-out documents, with averaged weights in float32, beside the n-gram model."""
        documents = _limited(trainer.text.validation, trainer.config.train.eval_bytes)
        if not any(documents):
            self._display.note("no held-out text: data.validation and data.validation_share name no document")
            return
        start = time.perf_counter()
        with evaluation_weights(trainer):
            score = text_model(trainer).score(documents)
        ngram_bits = sum(trainer.text.models.full.bits(document) for document in documents)
        metrics = {
            "eval/bpb": score.bpb,
            "eval/ngram_bpb": ngram_bits / score.num_bytes,
            "eval/bytes": score.num_bytes,
            "eval/documents": score.num_documents,
            "eval/seconds": round(time.perf_counter() - start, 3),
        }
        self._events.write("eval", trainer.step, **metrics)
        self._display.evaluated(metrics)
        self._since = (time.perf_counter(), trainer.step, trainer.bytes_seen)

    def rested(self, trainer: Trainer) -> None:
        """The run was paused: the time since the last `step` event was not training."""
        self._since = (time.perf_counter(), trainer.step, trainer.bytes_seen)

    def sample(self, trainer: Trainer) -> None:
        """Text that continues a held-out document, shown as it is written, with measures of degeneration."""
        length = trainer.config.train.sample_bytes
        if not length:
            return
        prompt = _prompt(trainer.text.validation)
        with evaluation_weights(trainer):
            pieces = text_model(trainer).generate(prompt, max_bytes=length, seed=trainer.config.seed)
            written = self._display.sample(prompt, pieces)
        measures = degeneracy(written)
        text: dict[str, object] = {"prompt": _printable(prompt), "text": _printable(written)}
        if trainer.config.network.patches:
            text["patch_starts"] = patch_starts(trainer, prompt + written)
        self._events.write("sample", trainer.step, **text, **measures)
        self._display.note("sample: " + ", ".join(f"{name} {value:g}" for name, value in measures.items()))

    def stopped(self, trainer: Trainer) -> int:
        """A person asked to stop: says how to go on; returns the exit code."""
        self._events.write("end", trainer.step, reason="stopped on request", exit_code=int(Exit.STOPPED))
        saved = ", saved" if trainer.step else ""
        self._display.note(f"stopped at step {trainer.step}{saved}; run the same command again to go on")
        return Exit.STOPPED

    def finished(self, trainer: Trainer) -> int:
        """The run reached its horizon; returns the exit code."""
        self._events.write("end", trainer.step, reason="finished", exit_code=int(Exit.DONE))
        self._display.note(f"finished: {trainer.step} steps, {self._directory.paths.root}")
        return Exit.DONE

    @contextmanager
    def closing(self, trainer: Trainer) -> Iterator[None]:
        """Leaves the terminal in order and records an error that ends the attempt."""
        try:
            yield
        except NeatError as error:
            self._events.write(
                "end", trainer.step, reason=error.title, message=str(error), exit_code=int(error.exit_code)
            )
            raise
        except BaseException as error:
            self._events.write("end", trainer.step, reason="internal error", message=f"{type(error).__name__}: {error}")
            raise
        finally:
            self._display.close()


def stopped_early(events: EventWriter) -> int:
    """A person asked to stop while the text was being prepared; returns the exit code."""
    events.write("end", 0, reason="stopped on request", exit_code=int(Exit.STOPPED))
    print("stopped before the first step; run the same command again", file=sys.stderr)
    return Exit.STOPPED


@contextmanager
def evaluation_weights(trainer: Trainer) -> Iterator[None]:
    """The averaged weights, where there are any, in evaluation mode and with every component."""
    average, policy = trainer.average, trainer.policy
    trainer.model.eval()
    if policy is not None:
        switch(policy, trainer.model, frozenset(policy.available))
    try:
        if average is not None and average.updates:
            with average.applied():
                yield
        else:
            yield
    finally:
        trainer.model.train()
        if policy is not None:
            switch(policy, trainer.model, policy.active())


def stage_facts(trainer: Trainer) -> dict[str, float]:
    """Window of the present stage, and the mean patch length that its patcher is calibrated to, where one is."""
    config, stage = trainer.config, trainer.horizon.present(trainer.config.train)
    facts: dict[str, float] = {"train/window": stage.window}
    if config.network.patches and config.patcher.rule in ENTROPY_RULES:
        facts["patch/mean_length_target"] = stage.patch_length or config.patcher.mean_length
    return facts


def text_model(trainer: Trainer) -> TextModel:
    """The model being trained, as something that reads and writes text."""
    window = trainer.config.train.window
    slots = trainer.config.patch_slots(window)
    return TextModel(trainer.model, trainer.text.preparer, window=window, patch_slots=slots)


def patch_starts(trainer: Trainer, text: bytes) -> list[int]:
    """The characters of `text`, decoded as in a `sample` event, at which a patch begins."""
    opens = trainer.text.preparer.starts(text)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    starts: list[int] = []
    place = 0
    for byte, begins in zip(text, opens, strict=False):
        if begins and starts[-1:] != [place]:
            starts.append(place)
        place += len(decoder.decode(bytes([byte])))
    return starts


def _limited(documents: list[Document], limit: int) -> list[Document]:
    """The first documents up to `limit` positions in all (0: no limit); the last one is cut."""
    if not limit:
        return documents
    kept, left = [], limit
    for document in documents:
        if left <= 0:
            break
        kept.append(beginning(document, left))
        left -= len(document)
    return kept


def _prompt(documents: list[Document]) -> bytes:
    """The beginning of the first held-out document, cut at a word and before any image."""
    if not documents:
        return b""
    start = leading_text(documents[0])[:SAMPLE_PROMPT_BYTES]
    return start[: start.rfind(b" ")] if b" " in start else start


def _factor(trainer: Trainer) -> float:
    """What rollbacks left of the learning rate."""
    return trainer.predictor.factors.lr if trainer.predictor is not None else 1.0


def _printable(text: bytes) -> str:
    return text.decode("utf-8", errors="replace")
