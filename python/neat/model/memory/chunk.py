"""One chunk of a memory with its gradients written out: the way `rows.learn` goes on a CPU.

The same numbers as `rule.learn_chunk`, up to rounding, with fewer passes over large tensors: what scales the
step of a patch (rate, clipping) is applied to the narrow side of its outer products, the weights of one layer lie side
by side in one matrix, and only what the backward pass needs is kept. Products and what is as large as they are have
the type `Rule.product`; weights, sums of logarithms and all that is [.., C] or [.., C, K] stay float32 or finer.

G = B * H memories (B rows, H heads), C patches, K head width, F hidden width, n matrices side by side.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from neat.model.memory.flow import Masks, flow_of, masks_of
from neat.model.memory.terms import TINY, Chunk, Gradients, Learned, Place, Rule, Weights, Writes


def fast_chunk(state: Learned, fresh: Weights, writes: Writes, place: Place, rule: Rule) -> Chunk:
    """What `rule.learn_chunk` gives for a chunk from its beginning.

    Args:
        state: Memory before the first patch.
        fresh: Memory of documents that begin inside the chunk, [H, ..].
        writes: C patches.
        place: Where they stand.
        rule: Bounds of the steps.
    """
    rows, heads = writes.rate.shape[:2]
    masks = masks_of(place, heads, writes.rate.dtype, rule.product)
    query, key, value = (tensor.flatten(0, 1) for tensor in writes[:3])
    first, second = (layer.flatten(0, 1) for layer in state)
    joined = _Join.apply(first, second, *fresh, rule.product, masks.running is not None)
    hidden, step, error, hidden_norm, step_norm = _Steps.apply(key, value, *joined, masks.running)
    surprise = _norm(error.detach()) / _norm(value.detach()).clamp(min=TINY)
    wrote = _written(surprise, place, rule, rows)
    rate = _rate(key, writes.rate.flatten(0, 1), wrote, masks, rule)
    second_step = 2 * error
    by_first, by_second = rate, rate
    if rule.clip:
        by_first = rate * _shrink(_norm(key) * step_norm, rule.clip)
        by_second = rate * _shrink(hidden_norm * _norm(second_step), rule.clip)
    left, right = key * by_first[..., None], second_step * by_second[..., None]
    flow = flow_of(writes.log_keep, writes.log_momentum, masks, rule.product)
    reads, first, second = _Apply.apply(
        query, left, right, hidden, step, *joined, first, second, *fresh, *flow, masks.running
    )

    taken = Gradients(*(_by_row(x, heads) for x in (hidden, step, second_step, surprise, wrote)))
    return Chunk(_by_row(reads, heads), Learned(_by_row(first, heads), _by_row(second, heads)), taken)


def _by_row(x: Tensor, heads: int) -> Tensor:
    """[G, ..] -> [B, H, ..]."""
    by_row: Tensor = x.view(-1, heads, *x.shape[1:])
    return by_row


def _written(surprise: Tensor, place: Place, rule: Rule, rows: int) -> Tensor:
    active = place.active.expand(rows, surprise.shape[0] // rows, -1).flatten(0, 1)
    return active & (surprise >= rule.threshold) if rule.threshold else active


def _rate(key: Tensor, rate: Tensor, wrote: Tensor, masks: Masks, rule: Rule) -> Tensor:
    """The inner learning rate of each patch, shared among equal keys of the chunk, [G, C]."""
    wrote = wrote.to(rate.dtype)
    if not rule.gram:
        return rate * wrote
    repeats: Tensor = _Repeats.apply(key, masks.earlier * wrote[:, None, :])
    return rate * wrote / repeats.clamp(min=1.0)


def _norm(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1)
    return norm


def _shrink(norm: Tensor, limit: float) -> Tensor:
    return limit / norm.clamp(min=limit)


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """Sum of the products of two matrices, [G, .., ..] -> [G]."""
    product: Tensor = torch.linalg.vecdot(left.flatten(1), right.flatten(1))
    return product


def _along(left: Tensor, right: Tensor) -> Tensor:
    """Sum of the products over the last axis."""
    product: Tensor = torch.linalg.vecdot(left, right)
    return product


class _Repeats(torch.autograd.Function):
    """`sum_j mask_ij (k_i . k_j)^2`, [G, C]."""

    @staticmethod
    def forward(ctx: Any, key: Tensor, mask: Tensor) -> Tensor:
        alike = key @ key.mT
        seen = alike * mask
        ctx.save_for_backward(key, seen)
        repeats: Tensor = torch.linalg.vecdot(alike, seen)
        return repeats

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        key, seen = ctx.saved_tensors
        scaled = seen * (2 * gradient[..., None])
        return (scaled @ key).baddbmm_(scaled.mT, key), None


class _Join(torch.autograd.Function):
    """Momentum, weights and, if asked for, fresh weights side by side: [G, nK, F] and [G, F, nK]."""

    @staticmethod
    def forward(
        ctx: Any,
        first: Tensor,
        second: Tensor,
        fresh: Tensor,
        fresh_second: Tensor,
        product: torch.dtype,
        fresher: bool,
    ) -> tuple[Tensor, Tensor]:
        (num, double, hidden), (heads, width, _) = first.shape, fresh.shape
        parts = 3 if fresher else 2
        above = first.new_empty(num, parts * width, hidden, dtype=product)
        beside = first.new_empty(num, hidden, parts * width, dtype=product)
        above[:, :width], above[:, width:double] = first[:, width:], first[:, :width]
        beside[..., :width], beside[..., width:double] = second[:, hidden:], second[:, :hidden]
        if fresher:
            above.view(-1, heads, *above.shape[1:])[:, :, double:] = fresh
            beside.view(-1, heads, *beside.shape[1:])[..., double:] = fresh_second
        ctx.shape = (width, heads, fresher, first.dtype)
        return above, beside

    @staticmethod
    def backward(ctx: Any, above: Tensor, beside: Tensor) -> tuple[Tensor | None, ...]:
        width, heads, fresher, exact = ctx.shape
        num, _, hidden = above.shape
        first = above.new_empty(num, 2 * width, hidden, dtype=exact)
        second = above.new_empty(num, 2 * hidden, width, dtype=exact)
        first[:, width:], first[:, :width] = above[:, :width], above[:, width : 2 * width]
        second[:, hidden:], second[:, :hidden] = beside[..., :width], beside[..., width : 2 * width]
        if not fresher:
            return first, second, None, None, None, None
        fresh = _by_row(above[:, 2 * width :].to(exact), heads).sum(0)
        fresh_second = _by_row(beside[..., 2 * width :].to(exact), heads).sum(0)
        return first, second, fresh, fresh_second, None, None


def _spread(x: Tensor, parts: tuple[Tensor | None, ...], dtype: torch.dtype) -> Tensor:
    """`x` [G, C, K] once per matrix, each time times its factor [G, C]; None: as it is."""
    return torch.cat([(x if part is None else x * part[..., None]).to(dtype) for part in parts], dim=-1)


def _gather(spread: Tensor, parts: tuple[Tensor | None, ...], dtype: torch.dtype) -> Tensor:
    """The transpose of `_spread`."""
    total, *others = (
        x.to(dtype) if part is None else x.to(dtype) * part[..., None]
        for x, part in zip(spread.chunk(len(parts), dim=-1), parts, strict=True)
    )
    for other in others:
        total = total.add_(other)
    return total


def _sides(running: Tensor | None) -> tuple[Tensor | None, ...]:
    """Factors of the weights, and of the fresh ones where there are any."""
    return (None,) if running is None else (running, 1 - running)


class _Steps(torch.autograd.Function):
    """The step of each patch before its rate: outer products of its key by `step` and of `hidden` by twice the error.

    Returns hidden activations and step [G, C, F], the error M(k) - v [G, C, K], and the norms of the first two [G, C].
    """

    @staticmethod
    def forward(
        ctx: Any, key: Tensor, value: Tensor, above: Tensor, beside: Tensor, running: Tensor | None
    ) -> tuple[Tensor, ...]:
        width, sides = key.shape[-1], _sides(running)
        above, beside = above[:, width:], beside[..., width:]
        keys = _spread(key, sides, above.dtype)
        z = keys @ above
        gate = z.sigmoid()
        hidden = z.mul_(gate)
        error = _gather(hidden @ beside, sides, key.dtype) - value
        errors = _spread(2 * error, sides, above.dtype)
        back = errors @ beside.mT
        slope = torch.addcmul(hidden, hidden, gate, value=-1).add_(gate)
        step = back * slope
        norms = (_norm(hidden).to(key.dtype), _norm(step).to(key.dtype))
        ctx.save_for_backward(keys, above, beside, running, gate, hidden, errors, back, slope, step, *norms)
        return hidden, step, error, *norms

    @staticmethod
    def backward(
        ctx: Any, to_hidden: Tensor, to_step: Tensor, to_error: Tensor, to_hidden_norm: Tensor, to_step_norm: Tensor
    ) -> tuple[Tensor | None, ...]:
        keys, above, beside, running, gate, hidden, errors, back, slope, step, *norms = ctx.saved_tensors
        sides, exact = _sides(running), to_error.dtype
        to_hidden_norm = (to_hidden_norm / norms[0].clamp(min=TINY))[..., None].to(hidden.dtype)
        to_step_norm = (to_step_norm / norms[1].clamp(min=torch.finfo(exact).tiny))[..., None].to(hidden.dtype)
        to_step = torch.addcmul(to_step, step, to_step_norm)
        to_hidden = torch.addcmul(to_hidden, hidden, to_hidden_norm)
        to_back = to_step * slope
        to_error = _gather(to_back @ beside, sides, exact).mul_(2).add_(to_error)
        to_errors = _spread(to_error, sides, above.dtype)
        to_hidden.baddbmm_(to_errors, beside.mT)
        # silu'' = (1 - sigmoid) (2 silu' - silu)
        bend = torch.add(-hidden, slope, alpha=2)
        bend.addcmul_(bend, gate, value=-1).mul_(to_step).mul_(back)
        to_z = bend.addcmul_(to_hidden, slope)
        to_key = _gather(to_z @ above.mT, sides, exact)
        width = to_key.shape[-1]
        to_above = above.new_empty(above.shape[0], above.shape[1] + width, above.shape[2])
        to_beside = above.new_empty(beside.shape[0], beside.shape[1], beside.shape[2] + width)
        to_above[:, :width], to_beside[..., :width] = 0, 0
        to_above[:, width:] = keys.mT @ to_z
        to_beside[..., width:] = (hidden.mT @ to_errors).baddbmm_(to_back.mT, errors)
        return to_key, -to_error, to_above, to_beside, None


class _Apply(torch.autograd.Function):
    """Reads after each patch [G, C, K], and the weights and momentum after the last one.

    `left` [G, C, K] by `step` [G, C, F] and `hidden` [G, C, F] by `right` [G, C, K] are the steps with their rates.
    """

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, left: Tensor, right: Tensor, hidden: Tensor, step: Tensor, above: Tensor,
        beside: Tensor, first: Tensor, second: Tensor, fresh: Tensor, fresh_second: Tensor, effect: Tensor,
        kept: Tensor, moved: Tensor, carried: Tensor, moving: Tensor, running: Tensor | None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        product, exact = above.dtype, query.dtype
        parts = _parts(kept, carried, running)
        low = [tensor.to(product) for tensor in (query, left, right)]
        queries = _spread(query, parts, product)
        alike = low[0] @ low[1].mT
        seen = alike * effect
        z = (queries @ above).baddbmm_(seen, step, alpha=-1)
        active = torch.nn.functional.silu(z)
        alike_hidden = active @ hidden.mT
        seen_hidden = alike_hidden * effect
        answers = active @ beside
        reads = _gather(answers, parts, exact) - seen_hidden @ low[2]
        ends = (effect[:, -1].to(exact), moving)
        lefts, rights = _spread(left, ends, product), _spread(right, ends, product)
        flow = _Last(kept[:, -1], carried[:, -1], moved[:, -1], None if running is None else running[:, -1])
        after = flow.advance(first, fresh, lefts.mT @ step)
        width = query.shape[-1]
        grown = hidden.mT @ rights
        grown = torch.cat((grown[..., :width], grown[..., width:]), dim=1)
        after_second = flow.advance(second, fresh_second, grown)
        ctx.save_for_backward(
            query, left, right, *low, hidden, step, above, beside, first, second, fresh, fresh_second, effect,
            kept, moved, carried, moving, running, queries, alike, seen, z, active, alike_hidden, seen_hidden,
            answers, lefts, rights,
        )  # fmt: skip
        return reads, after, after_second

    @staticmethod
    def backward(ctx: Any, to_reads: Tensor, to_first: Tensor, to_second: Tensor) -> tuple[Tensor | None, ...]:
        (
            query, left, right, *low, hidden, step, above, beside, first, second, fresh, fresh_second, effect,
            kept, moved, carried, moving, running, queries, alike, seen, z, active, alike_hidden, seen_hidden,
            answers, lefts, rights,
        ) = ctx.saved_tensors  # fmt: skip
        product, exact, size = above.dtype, query.dtype, hidden.shape[-1]
        parts, ends = _parts(kept, carried, running), (effect[:, -1].to(exact), moving)

        # The weights after the chunk.
        last = _Last(kept[:, -1], carried[:, -1], moved[:, -1], None if running is None else running[:, -1])
        before, to_fresh, to_last = last.back(first, fresh, to_first)
        before_second, to_fresh_second, to_last_second = last.back(second, fresh_second, to_second)
        grown = to_first.to(product)
        grown_second = torch.cat((to_second[:, :size], to_second[:, size:]), dim=-1).to(product)
        to_lefts, to_rights = (step @ grown.mT).neg_(), (hidden @ grown_second).neg_()
        to_step, to_hidden = (lefts @ grown).neg_(), (rights @ grown_second.mT).neg_()
        to_left, to_right = _gather(to_lefts, ends, exact), _gather(to_rights, ends, exact)
        to_ends = [
            _along(one.to(exact), left) + _along(two.to(exact), right)
            for one, two in zip(to_lefts.chunk(2, dim=-1), to_rights.chunk(2, dim=-1), strict=True)
        ]

        # The second layer of the reads.
        low_reads, to_answers = to_reads.to(product), _spread(to_reads, parts, product)
        to_seen = (low_reads @ low[2].mT).neg_()
        to_right -= seen_hidden.mT @ low_reads
        to_effect = to_seen * alike_hidden
        to_alike = to_seen.mul_(effect)
        to_active = (to_answers @ beside.mT).baddbmm_(to_alike, hidden)
        to_hidden.baddbmm_(to_alike.mT, active)
        to_beside = active.mT @ to_answers
        to_z = torch.ops.aten.silu_backward(to_active, z)

        # The first layer.
        to_seen = (to_z @ step.mT).neg_()
        to_step.baddbmm_(seen.mT, to_z, alpha=-1)
        to_effect.addcmul_(to_seen, alike)
        to_alike = to_seen.mul_(effect)
        to_queries = to_z @ above.mT
        to_query = _gather(to_queries, parts, exact).add_(to_alike @ low[1])
        to_left += to_alike.mT @ low[0]
        to_above = queries.mT @ to_z

        # The factors.
        to_effect[:, -1] += to_ends[0].to(product)
        to_parts = [
            _along(one.to(exact), query) + _along(two.to(exact), to_reads)
            for one, two in zip(to_queries.chunk(len(parts), -1), answers.chunk(len(parts), -1), strict=True)
        ]
        to_carried, to_kept = to_parts[:2]
        if running is not None:
            to_kept = torch.lerp(to_parts[2], to_kept, running)
        to_moved = torch.zeros_like(moved)
        for to, one, two in zip((to_kept, to_carried, to_moved), to_last, to_last_second, strict=True):
            to[:, -1] += one + two
        return (
            to_query, to_left, to_right, to_hidden, to_step, to_above, to_beside, before, before_second, to_fresh,
            to_fresh_second, to_effect, to_kept, to_moved, to_carried, to_ends[1], None,
        )  # fmt: skip


def _parts(kept: Tensor, carried: Tensor, running: Tensor | None) -> tuple[Tensor, ...]:
    """What reaches each patch of the momentum, the weights and the fresh weights."""
    return (carried, kept) if running is None else (carried, kept * running, kept * (1 - running))


class _Last(NamedTuple):
    """The factors of the last patch, [G] each; they carry one layer over the chunk."""

    kept: Tensor
    carried: Tensor
    moved: Tensor
    running: Tensor | None

    def advance(self, layer: Tensor, fresh: Tensor, grown: Tensor) -> Tensor:
        """Weights above momentum after the chunk, whose steps add up to `-grown`."""
        kept, carried, moved, running = (None if x is None else x[:, None, None] for x in self)
        assert kept is not None and carried is not None and moved is not None
        weights, momentum = layer.chunk(2, dim=1)
        after = torch.empty_like(layer)
        new, moving = after.chunk(2, dim=1)
        torch.mul(weights, kept if running is None else kept * running, out=new).addcmul_(momentum, carried)
        if running is not None:
            heads = fresh.shape[0]
            _by_row(new, heads).addcmul_(fresh, _by_row(kept * (1 - running), heads))
        torch.mul(momentum, moved, out=moving)
        return after.sub_(grown)

    def back(self, layer: Tensor, fresh: Tensor, to_after: Tensor) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...]]:
        """Gradients of `layer`, `fresh` and of the three factors from that of what `advance` returns."""
        kept, carried, moved, running = (None if x is None else x[:, None, None] for x in self)
        assert kept is not None and carried is not None and moved is not None
        (weights, momentum), (to_new, to_moving) = layer.chunk(2, dim=1), to_after.chunk(2, dim=1)
        before = torch.empty_like(layer)
        to_weights, to_momentum = before.chunk(2, dim=1)
        torch.mul(to_new, kept if running is None else kept * running, out=to_weights)
        torch.mul(to_moving, moved, out=to_momentum).addcmul_(to_new, carried)
        to_kept, to_fresh = _dot(to_new, weights), None
        if self.running is not None and running is not None:
            heads = fresh.shape[0]
            rows = _by_row(to_new, heads)
            to_fresh = (rows * _by_row(kept * (1 - running), heads)).sum(0)
            missed = _dot(to_new, fresh.repeat(rows.shape[0], 1, 1))
            to_kept = torch.lerp(missed, to_kept, self.running)
        return before, to_fresh, (to_kept, _dot(to_new, momentum), _dot(to_moving, momentum))
