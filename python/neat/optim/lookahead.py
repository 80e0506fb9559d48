"""The predicted delta of every step: an average of past displacements, added before the gradient is taken.

EMA-Nesterov (arXiv 2605.25395): with w the weights when a step begins, d the average displacement and s the gain,

    w_p = w + s d                          predict
    w'  = update(w_p, gradient at w_p)     correct
    d'  = decay d + (1 - decay)(w' - w)    observe

The displacement includes the predicted part, so that with c = decay + (1 - decay) s

    d'  = c d + (1 - decay)(w' - w_p).

No second copy of the weights is needed: d becomes `c d - (1 - decay) w_p` before the update, and `(1 - decay) w'` is
added after it. What that rounds away is smaller than what the update of the weights themselves rounds away, since the
weights enter with the factor 1 - decay. A d in bfloat16 cannot hold the weights; it takes a copy of them that lives
for the length of the update, when no activation is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor


class Lookahead:
    """One average displacement per parameter, with its predictions.

    A step is `predict`, the gradient, `before_update` and the optimizer's update (both left out where the update is
    refused), then `observe`. Changes of the weights between `observe` and the next `predict` are no displacement.

    Args:
        parameters: (name, parameter), dense ones; hash tables have no direction worth following.
        kinds: Kind of each, see `neat.optim.groups.kind_of`.
        decay: Decay of the average per step, in [0, 1).
        dtype: Type of the average, float32 or bfloat16; half the memory costs the lowest sixteen bits.
    """

    def __init__(
        self, parameters: Sequence[tuple[str, Tensor]], kinds: Sequence[str], decay: float, dtype: torch.dtype
    ) -> None:
        if dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(f"{dtype} is neither float32 nor bfloat16")
        self.decay, self.dtype = decay, dtype
        self._names = [name for name, _ in parameters]
        self._weights = [parameter.detach() for _, parameter in parameters]
        self._parameters = [parameter for _, parameter in parameters]
        self._kinds = list(kinds)
        self._displacements = [torch.zeros_like(weight, dtype=dtype) for weight in self._weights]
        self._members = {kind: [i for i, k in enumerate(kinds) if k == kind] for kind in dict.fromkeys(kinds)}
        self._shares: dict[str, float] | None = None
        self._versions: list[int] = []
        self._folded = False
        self._before: list[Tensor] = []

    @torch.no_grad()
    def predict(self, scales: Mapping[str, float]) -> None:
        """Adds `scales[kind] * d` to the weights, in place and once.

        Raises:
            KeyError: A kind has no scale.
            RuntimeError: The last prediction has not been observed.
        """
        if self._shares is not None:
            raise RuntimeError("the last prediction was not observed")
        self._shares = {kind: scales[kind] for kind in self._members}
        for kind, members in self._members.items():
            if scales[kind]:
                weights, displacements = self._pair(members)
                torch._foreach_add_(weights, displacements, alpha=scales[kind])
        self._versions = [weight._version for weight in self._weights]

    @torch.no_grad()
    def before_update(self) -> None:
        """Notes the weights that the optimizer is about to change."""
        self._require_prediction()
        if self._folded:
            raise RuntimeError("the update was announced twice")
        self._folded = True
        if self.dtype == torch.bfloat16:
            self._before = [weight.clone() for weight in self._weights]
            return
        self._decay_all()
        torch._foreach_add_(self._displacements, self._weights, alpha=self.decay - 1)

    @torch.no_grad()
    def observe(self) -> None:
        """Takes the displacement of the step into the average; without an update it is the predicted part alone.

        Raises:
            RuntimeError: There was no prediction, or the weights changed without `before_update`.
        """
        self._require_prediction()
        if not self._folded:
            if [weight._version for weight in self._weights] != self._versions:
                raise RuntimeError("the weights changed without before_update")
            self._decay_all()
        elif self.dtype == torch.bfloat16:
            self._round_once()
        else:
            torch._foreach_add_(self._displacements, self._weights, alpha=1 - self.decay)
        self._shares, self._folded, self._before = None, False, []

    @torch.no_grad()
    def reset(self) -> None:
        """Forgets all displacements, and a prediction that was not observed; the weights stay as they are."""
        torch._foreach_zero_(self._displacements)
        self._shares, self._folded, self._before = None, False, []

    def state(self) -> dict[str, Tensor]:
        """The average displacements as `lookahead.<parameter>`; the tensors are the live ones."""
        self._require_plain()
        return {f"lookahead.{name}": d for name, d in zip(self._names, self._displacements, strict=True)}

    @torch.no_grad()
    def load(self, saved: Mapping[str, Tensor]) -> None:
        """Copies `saved` into the live state.

        Raises:
            KeyError: A tensor is missing or unknown; the checkpoint belongs to another model.
        """
        live = self.state()
        if live.keys() != saved.keys():
            raise KeyError(", ".join(sorted(live.keys() ^ saved.keys())[:3]))
        for name, tensor in live.items():
            tensor.copy_(saved[name])
        self._shares = None

    @torch.no_grad()
    def norms(self) -> dict[str, Tensor]:
        """Norm of d over the parameters of each kind, on the device."""
        self._require_plain()
        return {
            kind: _norm([self._displacements[index] for index in members]) for kind, members in self._members.items()
        }

    @torch.no_grad()
    def slopes(self) -> dict[str, Tensor]:
        """Cosine of d and the descent direction, <-g, d> / (|g| |d|), over each kind; on the device.

        It reads the gradients of the moment; a parameter without one counts as zero, and so does a d of zero.
        """
        self._require_plain()
        return {kind: self._slope(members) for kind, members in self._members.items()}

    def buffers(self) -> Iterator[tuple[str, str, Tensor, Tensor]]:
        """(name, kind, parameter, d) of every parameter."""
        self._require_plain()
        yield from zip(self._names, self._kinds, self._parameters, self._displacements, strict=True)

    def _slope(self, members: list[int]) -> Tensor:
        found = [
            (gradient, self._displacements[index])
            for index in members
            if (gradient := self._parameters[index].grad) is not None
        ]
        if not found:
            return torch.zeros((), device=self._weights[members[0]].device)
        product = torch.stack([torch.dot(g.float().flatten(), d.float().flatten()) for g, d in found]).sum()
        lengths = _norm([g for g, _ in found]) * _norm([self._displacements[index] for index in members])
        return -product / lengths.clamp(min=torch.finfo(torch.float32).tiny)

    def _decay_all(self) -> None:
        """Decay and the predicted part: c d in the place of d."""
        for kind, members in self._members.items():
            torch._foreach_mul_([self._displacements[index] for index in members], self._kept(kind))

    def _round_once(self) -> None:
        """Adds the displacement in float32, so that each value is rounded to bfloat16 once a step."""
        moved = torch._foreach_sub(self._weights, self._before)
        torch._foreach_mul_(moved, 1 - self.decay)
        for kind, members in self._members.items():
            for index in members:
                moved[index].add_(self._displacements[index], alpha=self._kept(kind))
        torch._foreach_copy_(self._displacements, moved)

    def _kept(self, kind: str) -> float:
        """The factor c."""
        return self.decay + (1 - self.decay) * (self._shares or {})[kind]

    def _pair(self, members: list[int]) -> tuple[list[Tensor], list[Tensor]]:
        return [self._weights[index] for index in members], [self._displacements[index] for index in members]

    def _require_prediction(self) -> None:
        if self._shares is None:
            raise RuntimeError("nothing was predicted")

    def _require_plain(self) -> None:
        if self._folded:
            raise RuntimeError("the displacements are not readable between before_update and observe")


def _norm(tensors: list[Tensor]) -> Tensor:
    norms = torch.stack(list(torch._foreach_norm(tensors, 2, dtype=torch.float32)))
    return cast(Tensor, torch.linalg.vector_norm(norms))
