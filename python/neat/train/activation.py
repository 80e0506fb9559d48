"""Turning components off and on while a run goes on: under a memory limit, and for batches of easy text.

The decision is a pure function of what was observed; the network stays valid whatever it says, because each of these
components adds to a residual stream that works without it.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from neat.config.activation import Activation
from neat.model.batch import Batch
from neat.model.neat import NeatModel

RELEASE = 0.9
"""Share of the limit below which components come back."""
MIB = 2**20


class Change(NamedTuple):
    """A component that was turned off or on, and why."""

    component: str
    on: bool
    reason: str


@dataclass(slots=True)
class Policy:
    """Which components take part in the next step.

    Attributes:
        available: Components of this network that may be turned off, in order.
        pressed: Components that are off because of the memory limit.
        easy: The present batch is easy.
        changed_at: Step of the last change because of memory.
        steps: Steps decided since the last `share`.
        active_steps: Those of them with the component on, by component.
    """

    settings: Activation
    available: tuple[str, ...]
    pressed: list[str] = field(default_factory=list)
    easy: bool = False
    changed_at: int = 0
    steps: int = 0
    active_steps: dict[str, int] = field(default_factory=dict)

    def decide(self, step: int, used_bytes: int, mean_patch: float) -> list[Change]:
        """What changes for step number `step`, given the memory in use and the batch's mean patch length in bytes."""
        before = self.active()
        reason = self._easy(mean_patch) or self._press(step, used_bytes)
        after = self.active()
        self.steps += 1
        for name in after:
            self.active_steps[name] = self.active_steps.get(name, 0) + 1
        return [Change(name, name in after, reason) for name in self.available if (name in after) != (name in before)]

    def active(self) -> frozenset[str]:
        """The components that are on."""
        return frozenset() if self.easy else frozenset(self.available) - frozenset(self.pressed)

    def share(self) -> dict[str, float]:
        """Share of the steps since the last call that each component took part in."""
        shares = {name: self.active_steps.get(name, 0) / max(1, self.steps) for name in self.available}
        self.steps, self.active_steps = 0, {}
        return shares

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"pressed": list(self.pressed), "easy": self.easy, "changed_at": self.changed_at}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.pressed, self.easy, self.changed_at = list(state["pressed"]), state["easy"], state["changed_at"]

    def _easy(self, mean_patch: float) -> str:
        limit = self.settings.easy_patch_length
        easy = bool(limit) and mean_patch > limit
        if easy == self.easy:
            return ""
        self.easy = easy
        return f"mean patch of {mean_patch:.2f} bytes, {'above' if easy else 'not above'} {limit:g}"

    def _press(self, step: int, used_bytes: int) -> str:
        limit = self.settings.memory_limit_mib * MIB
        if not limit or (self.changed_at and step - self.changed_at < self.settings.patience):
            return ""
        left = [name for name in self.available if name not in self.pressed]
        if used_bytes > limit and left:
            self.pressed.append(left[0])
            self.changed_at = step
            return f"{used_bytes / MIB:.0f} MiB in use, the limit is {self.settings.memory_limit_mib}"
        if used_bytes < RELEASE * limit and self.pressed:
            self.pressed.pop()
            self.changed_at = step
            return f"{used_bytes / MIB:.0f} MiB in use, less than {RELEASE:.0%} of {self.settings.memory_limit_mib}"
        return ""


def make_policy(settings: Activation, model: NeatModel) -> Policy | None:
    """The policy of a run, None where nothing is to be turned off."""
    available = tuple(name for name in settings.components if name in model.switchable())
    return Policy(settings, available) if settings.on and available else None


def apply_policy(policy: Policy, model: NeatModel, batch: Batch, step: int) -> list[Change]:
    """Decides for one batch and tells the model. Waits for the device where the batch's patches are measured."""
    patches = mean_patch_length(batch) if policy.settings.easy_patch_length else 0.0
    used = used_memory(batch.ids.device) if policy.settings.memory_limit_mib else 0
    changes = policy.decide(step, used, patches)
    switch(policy, model, policy.active())
    return changes


def switch(policy: Policy, model: NeatModel, active: frozenset[str]) -> None:
    """Lets the components in `active` take part, and the others of the policy not."""
    for name in policy.available:
        model.activate(name, on=name in active)


def mean_patch_length(batch: Batch) -> float:
    """Mean length of the patches of a batch in bytes; long patches are text of low entropy."""
    used = (batch.patch_document >= 0) & (batch.patch_length > 0)
    return float((batch.patch_length * used).sum() / used.sum().clamp(min=1))


def used_memory(device: torch.device) -> int:
    """Bytes that tensors hold on the device; on a CPU the resident size of the process."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.current_allocated_memory()
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    # Elsewhere only the largest size so far is to be had; it never falls, so nothing comes back.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
