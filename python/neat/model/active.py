"""The positions that are still computed after others have halted, and what the halted ones leave behind.

B rows, P positions, A the largest number of active positions of a row. Tensors hold positions in dimension 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Active(NamedTuple):
    """Which positions go on, and where they stand among each other.

    Attributes:
        mask: True where a position goes on, [B, P].
        places: Positions that go on, in their order; a row with fewer of them ends in halted ones, [B, A].
        rank: Place of each position in `places`; means nothing at halted ones, [B, P].
    """

    mask: Tensor
    places: Tensor
    rank: Tensor

    @classmethod
    def of(cls, mask: Tensor, num: int) -> Active:
        """The active positions of `mask` [B, P], at most `num` in a row."""
        places = torch.argsort(mask, dim=1, descending=True, stable=True)[:, :num]
        return cls(mask, places, (mask.cumsum(1) - 1).clamp(min=0))

    def pick(self, x: Tensor) -> Tensor:
        """What stands at the active positions, [B, P, ...] -> [B, A, ...]."""
        return _along(x, self.places)

    def put(self, new: Tensor, old: Tensor) -> Tensor:
        """`old` [B, P, ...] with the active positions replaced by `new` [B, A, ...]."""
        mask = self.mask.view(*self.mask.shape, *(1 for _ in new.shape[2:]))
        return torch.where(mask, _along(new, self.rank), old)


def _along(x: Tensor, index: Tensor) -> Tensor:
    shape = (*index.shape, *x.shape[2:])
    return x.gather(1, index.view(*index.shape, *(1 for _ in x.shape[2:])).expand(shape))


@dataclass(slots=True)
class Kept:
    """What one attention layer keeps of every position from its own last application: tensors of P positions."""

    tensors: dict[str, Tensor] = field(default_factory=dict)

    def merge(self, name: str, new: Tensor, active: Active | None) -> Tensor:
        """Takes in what was computed now, all of it or that of the active positions; returns it for all positions."""
        self.tensors[name] = new if active is None else active.put(new, self.tensors[name])
        return self.tensors[name]
