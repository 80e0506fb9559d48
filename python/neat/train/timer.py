"""Time per part of the network, forward and backward, by hooks that exist only while they are wanted.

Every moment belongs to exactly one label, so the labels add up to the time that passed. The backward pass of a module
runs from the arrival of its output's gradient to the departure of its input's.
"""

from __future__ import annotations

import time
from collections import defaultdict
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from neat.model.components import timed_modules

TIMED = "_neat_timed_part"
"""Attribute of the outputs of timed modules."""
OTHER = "loss and everything else"


class PartTimer:
    """Measures inside a `with` block; the model must not be compiled.

    Args:
        model: The network.
        device: On anything but a CPU each change of part waits for the device, which slows the step down.
    """

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._model, self._device = model, device
        self._handles: list[RemovableHandle] = []
        self._label, self._outer, self._since = OTHER, [OTHER], 0.0

    def __enter__(self) -> Self:
        """Attaches the hooks and starts the clock."""
        for part, module in timed_modules(self._model):
            self._handles.append(module.register_forward_pre_hook(self._entering(part)))
            self._handles.append(module.register_forward_hook(self._leaving(part)))
        self._since = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Removes the hooks."""
        self.switch(OTHER)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def switch(self, label: str) -> None:
        """From now on time belongs to `label`."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()
        now = time.perf_counter()
        self.seconds[self._label] += now - self._since
        self._label, self._since = label, now

    def _entering(self, part: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            outer = f"{self._outer[-1]}, backward" if self._outer[-1] != OTHER else OTHER
            self._outer.append(part)
            self.switch(f"{part}, forward")
            # The gradient of another module's output begins that module's backward pass; its own hook says so.
            x = arguments[0] if arguments else None
            if isinstance(x, Tensor) and x.requires_grad and not hasattr(x, TIMED):
                x.register_hook(lambda gradient: self.switch(outer))  # type: ignore[no-untyped-call]

        return hook

    def _leaving(self, part: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            self._outer.pop()
            outer = self._outer[-1]
            self.switch(f"{outer}, forward" if outer != OTHER else OTHER)
            if isinstance(output, Tensor) and output.requires_grad:
                setattr(output, TIMED, part)
                output.register_hook(lambda gradient: self.switch(f"{part}, backward"))  # type: ignore[no-untyped-call]

        return hook
