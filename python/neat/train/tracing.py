"""What goes through chosen components in the first batches, as lines for people: `neat train --log blt=debug`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from neat.errors import UsageError
from neat.model.batch import Batch
from neat.model.components import ALIASES, COMPONENTS, component_of, resolve
from neat.model.neat import NeatModel
from neat.model.vocabulary import NUM_BYTES

LEVELS = ("info", "debug")
TEXT_POSITIONS = 120
"""Positions of the first row that are shown with their patches."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What to tell, and for how many batches: component -> `info` (its outermost modules) or `debug` (all of them)."""

    levels: Mapping[str, str]
    batches: int = 3


NOTHING = Watch({})


def parse_watch(words: Sequence[str], batches: int) -> Watch:
    """The `Watch` of `COMPONENT=LEVEL` words.

    Raises:
        UsageError: A word is no such pair.
    """
    levels = {}
    for word in words:
        name, _, level = word.partition("=")
        component = resolve(name)
        if component is None:
            raise UsageError(
                f"--log {word}: {name or 'nothing'} is not a component",
                hint=f"there are {', '.join(COMPONENTS)}, also called {', '.join(ALIASES)}",
            )
        if level not in LEVELS:
            raise UsageError(f"--log {word}: the level is {level or 'missing'}", hint=f"write {name}=info or =debug")
        levels[component] = level
    if batches < 1:
        raise UsageError(f"--log-batches {batches} is not a positive number")
    return Watch(levels, batches)


class Tracer:
    """Tells of the first batches of an attempt; afterwards nothing of it is left in the model.

    Args:
        model: Not compiled while it is traced.
        watch: What to tell.
        experts: Whether the model holds expert vectors.
        say: Takes one line.
    """

    def __init__(self, model: NeatModel, watch: Watch, *, experts: bool, say: Callable[[str], None]) -> None:
        self._model, self._watch, self._say = model, watch, say
        self._component = partial(component_of, experts=experts)
        self._told = 0

    @property
    def due(self) -> bool:
        """Whether the next batch is traced."""
        return bool(self._watch.levels) and self._told < self._watch.batches

    @contextmanager
    def tracing(self, batch: Batch) -> Iterator[None]:
        """Traces the forward pass inside, where it is due."""
        if not self.due:
            yield
            return
        self._told += 1
        if "patching" in self._watch.levels and self._model.patching is not None:
            self._tell_patches(batch)
        handles = list(self._attach())
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _attach(self) -> Iterator[RemovableHandle]:
        for name, module in self._model.named_modules():
            if not name or isinstance(module, nn.ModuleList) or name in ("patching", "vision"):
                continue
            component = self._component(name + ".")
            level = self._watch.levels.get(component)
            outermost = name.count(".") <= name.count("layers.") + 1
            if level == "debug" or (level == "info" and outermost):
                yield module.register_forward_hook(partial(self._tell, component, name))

    def _tell(self, component: str, name: str, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        tensor = output if isinstance(output, Tensor) else next((t for t in output if isinstance(t, Tensor)), None)
        if tensor is None or not tensor.is_floating_point():
            return
        values = tensor.detach().float()
        kind = str(tensor.dtype).removeprefix("torch.")
        self._say(
            f"{component} batch {self._told}: {name} {list(tensor.shape)} {kind} mean {values.mean():.4g} "
            f"std {values.std():.4g} largest {values.abs().max():.4g}"
        )

    def _tell_patches(self, batch: Batch) -> None:
        used = batch.patch_length[batch.patch_document >= 0].float()
        measures = f"{used.numel()} patches, mean {used.mean():.2f} bytes, longest {used.max():.0f}"
        self._say(f"patching batch {self._told}: {measures}")
        self._say(f"patching batch {self._told}: row 0: {patched_text(batch, 0, TEXT_POSITIONS)}")


def patched_text(batch: Batch, row: int, positions: int) -> str:
    """The beginning of a row as text with a bar before each patch; special ids are left out."""
    ids, patch = batch.ids[row, :positions].tolist(), batch.patch[row, :positions].tolist()
    pieces: dict[int, bytearray] = {}
    for symbol, slot in zip(ids, patch, strict=True):
        pieces.setdefault(slot, bytearray()).extend([symbol] if symbol < NUM_BYTES else [])
    texts = (bytes(piece).decode("utf-8", "replace") for piece in pieces.values())
    return "|" + "|".join("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in t) for t in texts)
