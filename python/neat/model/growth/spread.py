"""Where the channels of a larger axis come from, and what that means for the tensors that write and read them.

A grown channel j carries `scale[j]` times channel `source[j]` of the small network: x' = A x with one non-zero entry in
each row of A. The matrix that writes x' is A W, the one that reads it is W A^+, and the function stays what it was
(Net2Net, arXiv 1511.05641; bert2BERT, arXiv 2110.07143). On a residual stream every column of A has the squared length
r = N / n, so that `|A x|^2 / N = |x|^2 / n`: root-mean-square norms without a gain see the same mean square, whether r
is a whole number or not, and `norm(A x) = A norm(x)`.

Copies that are read alike get equal gradients and stay copies. What a reader may gain without any change of the
function is whatever A x has no part of: a matrix R (1 - A A^+). That is the noise here (LEMON, arXiv 2310.07999, splits
unevenly to the same end).

n old channels, N new ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Line:
    """How one dimension of a tensor grows.

    Attributes:
        source: Old index of each new one, int64 [N].
        factor: What a weight is multiplied by, float64 [N].
        dual: What a gradient is multiplied by, float64 [N].
        old: n.
        arriving: Where the dimension is read from: value of each new channel in units of its source, float64 [N].
    """

    source: Tensor
    factor: Tensor
    dual: Tensor
    old: int
    arriving: Tensor | None = None

    @classmethod
    def joined(cls, lines: Sequence[Line]) -> Line:
        """Several lines one behind the other, as stacked projections hold them."""
        starts = torch.tensor([0, *(line.old for line in lines)]).cumsum(0)
        arriving = [line.arriving for line in lines if line.arriving is not None]
        return cls(
            torch.cat([line.source + start for line, start in zip(lines, starts.tolist(), strict=False)]),
            torch.cat([line.factor for line in lines]),
            torch.cat([line.dual for line in lines]),
            int(starts[-1]),
            torch.cat(arriving) if len(arriving) == len(lines) else None,
        )

    @property
    def changes(self) -> bool:
        """Whether anything differs from the old dimension."""
        if len(self.source) != self.old or bool((self.source != torch.arange(self.old)).any()):
            return True
        return bool((self.factor != 1).any())


@dataclass(frozen=True, slots=True)
class Spread:
    """The axis itself: `source` int64 [N], `scale` float64 [N] above zero and equal among copies, `old` n."""

    source: Tensor
    scale: Tensor
    old: int

    @classmethod
    def repeated(cls, old: int, new: int) -> Self:
        """Channels of the same value again and again, for what no norm looks across: hidden units, heads."""
        return cls(torch.arange(new) % old, torch.ones(new, dtype=torch.float64), old)

    @classmethod
    def residual(cls, old: int, new: int) -> Self:
        """The same, scaled so that the mean square stays what it was; the scale is 1 where `old` divides `new`."""
        source = torch.arange(new) % old
        copies = torch.bincount(source, minlength=old)[source].double()
        return cls(source, (new / old / copies).sqrt(), old)

    def blocks(self, size: int) -> Spread:
        """Every channel becomes a block of `size`: heads become the channels of heads."""
        inside = torch.arange(size)
        source = (self.source[:, None] * size + inside).flatten()
        return Spread(source, self.scale.repeat_interleave(size), self.old * size)

    def times(self, inner: Spread) -> Spread:
        """Channels (i, k), k fastest: i as this axis says, k as `inner` does."""
        source = (self.source[:, None] * inner.old + inner.source).flatten()
        return Spread(source, (self.scale[:, None] * inner.scale).flatten(), self.old * inner.old)

    def write(self) -> Line:
        """For what produces the channels."""
        return self._line(self.scale)

    def read(self) -> Line:
        """For what sums over the channels."""
        return self._line(1 / (self._copies() * self.scale), self.scale)

    def copy(self) -> Line:
        """For what acts on each channel alone, or produces channels without a scale."""
        return self._line(torch.ones_like(self.scale))

    def undo(self) -> Line:
        """For what meets the channels in a product of two, one of them scaled."""
        return self._line(1 / self.scale)

    def leading(self, old: int, new: int) -> Line | None:
        """For what reads the first channels only, `old` of them once and `new` now; None where some of those moved."""
        source, scale = self.source[:new], self.scale[:new]
        here = source < old
        copies = torch.bincount(source[here], minlength=old)
        if not bool(copies.all()):
            return None
        source = torch.where(here, source, 0)
        share = torch.where(here, 1 / copies[source].double(), 0.0)
        return Line(source, share / scale, torch.where(here, scale, 0.0), old)

    def _copies(self) -> Tensor:
        return torch.bincount(self.source, minlength=self.old)[self.source].double()

    def _line(self, factor: Tensor, arriving: Tensor | None = None) -> Line:
        return Line(self.source, factor, 1 / (self._copies() * factor), self.old, arriving)


def spread_weight(tensor: Tensor, lines: Sequence[Line | None]) -> Tensor:
    """A grown weight, float64; dimensions without a line stay."""
    return _spread(tensor, lines, [None if line is None else line.factor for line in lines])


def spread_gradient(tensor: Tensor, lines: Sequence[Line | None], power: int = 1) -> Tensor:
    """A grown gradient, float64, or with `power` 2 the mean of its squares: what the grown network would see."""
    return _spread(tensor, lines, [None if line is None else line.dual**power for line in lines])


def _spread(tensor: Tensor, lines: Sequence[Line | None], factors: Sequence[Tensor | None]) -> Tensor:
    grown = tensor.double()
    for dim, (line, factor) in enumerate(zip(lines, factors, strict=True)):
        if line is None or factor is None or not line.changes:
            continue
        shape = [1] * grown.dim()
        shape[dim] = -1
        grown = grown.index_select(dim, line.source.to(grown.device)) * factor.to(grown.device).view(shape)
    return grown


def unseen_noise(grown: Tensor, lines: Sequence[Line | None], amount: float, generator: torch.Generator) -> Tensor:
    """`grown` and random numbers that readers cannot tell from zero while copies are equal.

    Args:
        grown: A grown weight, float64.
        lines: How it grew.
        amount: Standard deviation of the numbers before they are made invisible, relative to the tensor's own.
        generator: Where they are drawn, on the CPU.
    """
    for dim, line in enumerate(lines):
        if line is None or line.arriving is None or not line.changes:
            continue
        size = amount * grown.square().mean().sqrt()
        drawn = torch.randn(grown.shape, generator=generator, dtype=torch.float64).to(grown.device) * size
        grown = grown + _without_visible(drawn.movedim(dim, -1), line).movedim(-1, dim)
    return grown


def _without_visible(drawn: Tensor, line: Line) -> Tensor:
    """`drawn` [.., N] times 1 - A A^+."""
    assert line.arriving is not None
    source, scale = line.source.to(drawn.device), line.arriving.to(drawn.device)
    along = drawn.new_zeros(*drawn.shape[:-1], line.old).index_add_(-1, source, drawn * scale)
    length = scale.new_zeros(line.old).index_add_(0, source, scale.square())
    return drawn - (along / length)[..., source] * scale
