"""What people see of a run: a progress bar on a terminal, plain lines elsewhere. Everything goes to stderr."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from neat.train.state import Trainer


class Display:
    """Shows the course of one attempt."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def begin(self, trainer: Trainer, parameters: int, *, resumed: bool) -> None:
        """Prints what is about to run."""
        corpus, patcher = trainer.text.corpus, trainer.text.patcher
        for reason in trainer.placement.reasons:
            self.note(reason)
        self.optimizers(trainer)
        self.note(f"model: {parameters:,} parameters")
        self.note(f"text: {corpus.num_documents:,} documents, {corpus.num_bytes:,} bytes")
        if trainer.config.network.patches:
            self.note(f"patches: {patcher.rule}, threshold {patcher.threshold:.3f}, at most {patcher.max_length} bytes")
        self.note(f"resuming after step {trainer.step}" if resumed else "starting at step 0")
        if self._console.is_terminal:
            self._open_bar(trainer)

    def optimizers(self, trainer: Trainer) -> None:
        """Which parameters are updated by what."""
        for row in trainer.optimizers.table():
            decay = f", weight decay {row.weight_decay:g}" if row.weight_decay else ""
            details = f", {row.details}" if row.details else ""
            what = f"{row.optimizer}, {row.num:,} parameters, learning rate {row.lr:g}{decay}{details}"
            self.note(f"optimizer: {row.parameters}: {what}")

    def _open_bar(self, trainer: Trainer) -> None:
        self._progress = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task("", total=trainer.horizon.total, completed=trainer.step, metrics="")
        self._progress.start()

    def step(self, trainer: Trainer, metrics: Mapping[str, object]) -> None:
        """The metrics of one step."""
        bpb, rate = metrics["train/bpb"], metrics["perf/bytes_per_s"]
        short = f"bpb {bpb:.4f}  {float(rate) / 1e3:.1f} kB/s"  # type: ignore[arg-type]
        if self._progress is not None:
            total = trainer.horizon.total
            self._progress.update(self._task, completed=trainer.step, total=total, metrics=short)
        else:
            lr, norm = metrics["optim/lr"], metrics["optim/grad_norm"]
            self._print(
                f"step={trainer.step} total={trainer.horizon.total} bpb={bpb:.4f} lr={lr:.3g} grad_norm={norm:.3g} "
                f"kB/s={float(rate) / 1e3:.1f} window={metrics['train/window']}"  # type: ignore[arg-type]
            )

    def evaluated(self, metrics: Mapping[str, object]) -> None:
        """The result of an evaluation."""
        bpb, ngram = float(metrics["eval/bpb"]), float(metrics["eval/ngram_bpb"])  # type: ignore[arg-type]
        self.note(
            f"held-out: {bpb:.4f} bits per byte on {metrics['eval/bytes']:,} bytes "
            f"({bpb - ngram:+.4f} against the n-gram model's {ngram:.4f})"
        )

    def grown(self, facts: Mapping[str, Any]) -> None:
        """What the weights were grown from."""
        self.note(
            f"grown from {facts['from']} ({facts['checkpoint']}, {facts['weights']} weights), {facts['method']}: "
            f"{facts['parameters/before']:,} -> {facts['parameters/after']:,} parameters; logits differ by at most "
            f"{facts['logits/max_delta']:.3g} on {facts['bytes']:,} bytes, loss {facts['loss/before']:.4f} -> "
            f"{facts['loss/after']:.4f} nats a byte"
        )
        for note in facts["notes"]:
            self.note(note)

    def note(self, text: str) -> None:
        """One line."""
        self._print(text)

    def sample(self, prompt: bytes, pieces: Iterable[bytes]) -> bytes:
        """Shows text as it is written; returns all of it."""
        self.close()
        # A character of several bytes comes in several pieces; a byte that fits nothing is shown as such.
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        written = bytearray()
        self._raw("--- sample after: ..." + prompt[-60:].decode("utf-8", "replace").replace("\n", " ") + "\n")
        for piece in pieces:
            written += piece
            self._raw(decoder.decode(piece))
        self._raw(decoder.decode(b"", final=True) + "\n---\n")
        return bytes(written)

    def close(self) -> None:
        """Leaves the terminal as it was."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False)

    @staticmethod
    def _raw(text: str) -> None:
        """Writes text as it is, control characters excepted."""
        print("".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text), end="", file=sys.stderr)
        sys.stderr.flush()
