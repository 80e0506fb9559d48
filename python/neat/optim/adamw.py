"""AdamW (Loshchilov and Hutter, arXiv 1711.05101): torch's own, with named state that is whole from the beginning."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neat.optim.values import Values

Assigned = tuple[str, Tensor, Values]
"""A parameter with its name and what it is updated with."""


class AdamW:
    """The optimizer of the dense parameters that Muon does not take.

    Args:
        assigned: The parameters; all have the same betas and eps.
    """

    def __init__(self, assigned: Sequence[Assigned]) -> None:
        self._names = {parameter: name for name, parameter, _ in assigned}
        sets: dict[tuple[float, float], list[Tensor]] = {}
        for _, parameter, values in assigned:
            sets.setdefault((values.lr, values.weight_decay), []).append(parameter)
        self._optimizer_name = assigned[0][2].optimizer
        betas, eps = assigned[0][2].betas, assigned[0][2].eps
        self._adamw = torch.optim.AdamW(
            [{"params": members, "weight_decay": decay, "base_lr": lr} for (lr, decay), members in sets.items()],
            betas=(betas[0], betas[1]),
            eps=eps,
            fused=all(parameter.device.type in ("cpu", "cuda", "mps") for parameter in self._names),
        )
        self._start()

    def step(self, scale: float) -> None:
        """Applies one update with all learning rates times `scale`."""
        for group in self._adamw.param_groups:
            group["lr"] = group["base_lr"] * scale
        self._adamw.step()

    def state(self) -> dict[str, Tensor]:
        """Moments and step counters by parameter name; the tensors are the live ones."""
        return {
            f"adamw.{key}.{name}": value
            for parameter, name in self._names.items()
            for key, value in self._adamw.state[parameter].items()
        }

    def values(self) -> dict[str, Values]:
        """What each parameter is updated with, as torch holds it."""
        return {
            self._names[parameter]: Values(
                self._optimizer_name, group["base_lr"], group["weight_decay"], group["betas"], group["eps"]
            )
            for group in self._adamw.param_groups
            for parameter in group["params"]
        }

    def _start(self) -> None:
        """Creates the state tensors, which torch makes only at the first step: a state saved before it is whole."""
        for parameter in self._names:
            self._adamw.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
