"""How the memory before a chunk and the steps inside it reach each of its patches, with the gradient written out.

The factors between two patches are exponentials of differences of summed logarithms; see `rule.Flow`, whose
numbers these are before any rate.

B rows, H heads, G = B * H, C patches of one chunk.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from neat.model.memory.terms import LOWEST_LOG, Place


class Masks(NamedTuple):
    """A `Place` as factors and summands, which a CPU applies many times faster than booleans.

    Attributes:
        active: 1 where a patch stands, [G, C].
        earlier: 1 where patch j is i itself or an earlier one of its document, [G, C, C].
        open: 0 there and minus infinity elsewhere, [G, C, C].
        lasting: The same, but minus infinity also where nothing stands at j.
        running: 1 where the patch belongs to the document whose memory is passed in, [G, C]; None: everywhere.
    """

    active: Tensor
    earlier: Tensor
    open: Tensor
    lasting: Tensor
    running: Tensor | None


class Flow(NamedTuple):
    """Factors of one chunk.

    Attributes:
        effect: What a step of patch j has added to the weights at patch i, [G, C, C].
        kept: Share of the weights before that is left, [G, C].
        moved: Share of the momentum before that is left, [G, C].
        carried: What the momentum before has added to the weights, [G, C].
        moving: What a step of each patch has left of momentum after the last one, [G, C].
    """

    effect: Tensor
    kept: Tensor
    moved: Tensor
    carried: Tensor
    moving: Tensor


def masks_of(place: Place, heads: int, dtype: torch.dtype, product: torch.dtype) -> Masks:
    """The masks of `place` for `heads` memories per row.

    Where products are rounded anyway, fresh memories are left out of chunks in which no document begins. In full
    precision they take part always, so that not even the rounding of a row depends on what its batch holds.
    """

    def by_memory(mask: Tensor) -> Tensor:
        rows = place.active.shape[0]
        return mask.expand(rows, heads, *mask.shape[2:]).flatten(0, 1)

    active, earlier = place.active.to(dtype), place.earlier.to(dtype)
    # log(1) = 0 and log(0) = -inf
    opened, lasting = earlier.log(), (earlier * active[:, :, None]).log()
    running = None
    if place.running is not None and not (product != dtype and _all(place.running)):
        running = by_memory(place.running.to(dtype))
    return Masks(by_memory(active), by_memory(earlier), by_memory(opened), by_memory(lasting), running)


def _all(flags: Tensor) -> bool:
    """Whether all are set; no where nothing has a value."""
    return not isinstance(flags, FakeTensor) and bool(flags.all())


def flow_of(log_keep: Tensor, log_momentum: Tensor, masks: Masks, product: torch.dtype) -> Flow:
    """The factors that forgetting and momentum [B, H, C] give; `effect` has type `product`."""
    logs = (log.flatten(0, 1).clamp(min=LOWEST_LOG) * masks.active for log in (log_keep, log_momentum))
    # Sums within the document: what other documents hold must not even change the rounding.
    keep, momentum = ((masks.earlier @ log[..., None])[..., 0] for log in logs)
    kept, moved = keep.exp(), momentum.exp()
    if masks.running is not None:
        moved = moved * masks.running
    effect, carried, moving = _Between.apply(keep, momentum, moved, masks.lasting, masks.open, product)
    return Flow(effect, kept, moved, carried, moving)


class _Between(torch.autograd.Function):
    """`effect`, `carried` and `moving` of the sums `keep` and `momentum` and what is left of the momentum, [G, C]."""

    @staticmethod
    def forward(
        ctx: Any, keep: Tensor, momentum: Tensor, left: Tensor, lasting: Tensor, opened: Tensor, product: torch.dtype
    ) -> tuple[Tensor, ...]:
        kept, moved = _between(keep, lasting), _between(momentum, opened)
        carried, moving = (kept @ left[..., None])[..., 0], moved[:, -1].clone()
        kept, moved = kept.to(product), moved.to(product)
        ctx.save_for_backward(kept, moved, left)
        return kept @ moved, carried, moving

    @staticmethod
    def backward(ctx: Any, to_effect: Tensor, to_carried: Tensor, to_moving: Tensor) -> tuple[Tensor | None, ...]:
        kept, moved, left = ctx.saved_tensors
        exact = left.dtype
        to_kept = (to_effect @ moved.mT).to(exact).addcmul_(to_carried[..., None], left[:, None])
        to_moved = (kept.mT @ to_effect).to(exact)
        to_moved[:, -1] += to_moving
        kept, moved = kept.to(exact), moved.to(exact)
        to_left = (kept.mT @ to_carried[..., None])[..., 0]
        return _difference(to_kept.mul_(kept)), _difference(to_moved.mul_(moved)), to_left, None, None, None


def _between(total: Tensor, mask: Tensor) -> Tensor:
    """exp(total_i - total_j), and 0 where `mask` is minus infinity: it would overflow there."""
    return (total[..., :, None] - total[..., None, :]).add_(mask).exp_()


def _difference(gradient: Tensor) -> Tensor:
    """The gradient of `total` from that of its differences."""
    return gradient.sum(-1) - gradient.sum(-2)
