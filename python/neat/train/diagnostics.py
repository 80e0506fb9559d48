"""What each component did in one step: measured only in the steps that are asked for, at no cost in the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from neat.events.writer import EventWriter
from neat.model.batch import Batch
from neat.model.components import COMPONENTS, component_of
from neat.model.losses import NATS_PER_BIT
from neat.train.state import Trainer
from neat.train.timer import PartTimer
from neat.train.tracing import Tracer

_LAYER = re.compile(r"(latent\.layers\.\d+|patching\.(?:encoder|decoder)\.\d+)\.")


class Diagnostics:
    """Watches single steps and writes a `components` event for each.

    Args:
        trainer: The run; a watched step runs its network uncompiled.
        events: Where the events go.
        tracer: Tells of the first batches.
    """

    def __init__(self, trainer: Trainer, events: EventWriter, tracer: Tracer) -> None:
        self._trainer, self._events, self._tracer = trainer, events, tracer
        self._component = partial(component_of, experts=trainer.config.expert.count > 0)

    def due(self, step: int) -> bool:
        """Whether step number `step` is watched."""
        every = self._trainer.config.train.diagnose_every
        return bool(every) and (step % every == 0 or step == 1)

    @contextmanager
    def watching(self, batch: Batch) -> Iterator[None]:
        """Watches the step taken inside, where it is due."""
        trainer, measured = self._trainer, self.due(self._trainer.step + 1)
        if not measured and not self._tracer.due:
            yield
            return
        forward, trainer.forward = trainer.forward, trainer.model.outputs
        try:
            with self._tracer.tracing(batch), self._measuring(batch) if measured else nullcontext():
                yield
        finally:
            trainer.forward = forward

    @contextmanager
    def _measuring(self, batch: Batch) -> Iterator[None]:
        trainer, model = self._trainer, self._trainer.model
        observed: dict[str, list[Tensor]] = {}
        norms: dict[str, dict[str, Tensor]] = {}

        def note(name: str, value: Tensor) -> None:
            observed.setdefault(name, []).append(value.detach())

        trainer.on_gradients = lambda: norms.update(gradient_norms(model, self._component))
        try:
            with model.observed(note), PartTimer(model, batch.ids.device) as timer:
                yield
        finally:
            trainer.on_gradients = None
        self._events.write("components", trainer.step, **self._facts(norms, timer.seconds, observed, batch))

    def _facts(
        self,
        norms: dict[str, dict[str, Tensor]],
        seconds: dict[str, float],
        observed: dict[str, list[Tensor]],
        batch: Batch,
    ) -> dict[str, object]:
        total = sum(seconds.values())
        facts: dict[str, object] = {
            f"grad_norm/{group}": {name: float(norm) for name, norm in found.items()} for group, found in norms.items()
        }
        facts["parameters"] = parameter_counts(self._trainer.model, self._component)
        facts["time/share"] = {label: round(spent / total, 4) for label, spent in seconds.items()}
        facts["patch/lengths"] = patch_histogram(batch)
        if batch.features is not None:
            facts["patch/entropies"] = entropy_histogram(batch.features, batch.document)
        facts |= {name: float(torch.stack(values).mean()) for name, values in observed.items()}
        return facts


def gradient_norms(model: nn.Module, component: Callable[[str], str]) -> dict[str, dict[str, Tensor]]:
    """Norms of the gradients by component and by layer, on the device."""
    sums: dict[str, dict[str, list[Tensor]]] = {"component": {}, "layer": {}}
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        gradient = parameter.grad.coalesce().values() if parameter.grad.is_sparse else parameter.grad
        norm = torch.linalg.vector_norm(gradient.float())
        sums["component"].setdefault(component(name), []).append(norm)
        layer = _LAYER.match(name)
        if layer:
            sums["layer"].setdefault(layer.group(1), []).append(norm)
    return {
        group: {name: torch.linalg.vector_norm(torch.stack(norms)) for name, norms in found.items()}
        for group, found in sums.items()
    }


def parameter_counts(model: nn.Module, component: Callable[[str], str]) -> dict[str, int]:
    """Parameters by component; those that are off have none."""
    counts = dict.fromkeys(COMPONENTS, 0)
    for name, parameter in model.named_parameters():
        counts[component(name)] += parameter.numel()
    return counts


def patch_histogram(batch: Batch) -> dict[str, int]:
    """How many patches have each length."""
    used = batch.patch_length[batch.patch_document >= 0]
    counts = torch.bincount(used.flatten().long()).tolist()
    return {str(length): count for length, count in enumerate(counts) if count and length}


def entropy_histogram(features: Tensor, document: Tensor) -> dict[str, int]:
    """How many bytes the n-gram model predicts with each entropy, in half bits: `{"1.5": n}` is 1.5 up to 2 bits.

    Args:
        features: Square roots of its next-byte probabilities, [B, N, 256].
        document: Segment numbers, -1 for padding, [B, N].
    """
    probabilities = features[document >= 0].float().square()
    bits = torch.special.entr(probabilities).sum(-1) / NATS_PER_BIT
    counts = torch.bincount((2 * bits).long().clamp(0, 16)).tolist()
    return {f"{half / 2:g}": count for half, count in enumerate(counts) if count}
